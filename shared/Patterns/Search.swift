import CPCRE2

/// One pass over one text, on one thread.
final class Search {
    /// How many places a match may start at are tried before the clock is looked at: few where the text is slow,
    /// more where it is fast, never so many that one stretch takes seconds.
    private static let stretches = 16...512

    private let pattern: Pattern
    private let bytes: [UInt8]
    private let data: OpaquePointer
    private let context: OpaquePointer
    private let start = ContinuousClock.now
    private var stretch = 64
    private var position = 0
    private var lastWasEmpty = false
    private var isOver = false

    init(_ pattern: Pattern, _ bytes: [UInt8]) throws(PatternError) {
        guard bytes.count <= pattern.limits.textBytes else { throw .tooLong(bytes: bytes.count) }
        guard let data = pcre2_match_data_create_from_pattern_8(pattern.code, nil) else {
            throw .library(PCRE2_ERROR_NOMEMORY)
        }
        guard let context = pcre2_match_context_create_8(nil) else {
            pcre2_match_data_free_8(data)
            throw .library(PCRE2_ERROR_NOMEMORY)
        }
        pcre2_set_match_limit_8(context, pattern.limits.steps)
        pcre2_set_heap_limit_8(context, UInt32(pattern.limits.memory >> 10))
        self.pattern = pattern
        self.bytes = bytes
        self.data = data
        self.context = context
    }

    deinit {
        pcre2_match_context_free_8(context)
        pcre2_match_data_free_8(data)
    }

    /// The next match, or nil when there is none any more.
    func next() throws(PatternError) -> Match? {
        if isOver { return nil }
        var ranges: [Range<Int>?]?
        if lastWasEmpty {
            // After an empty match: another one at the same place that is not empty, else go on behind the next character.
            ranges = try find(from: position, options: PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED)
            if ranges == nil {
                if position >= bytes.count || pattern.isAnchored {
                    isOver = true
                    return nil
                }
                position = characterStart(from: position + 1)
            }
        }
        if ranges == nil { ranges = try find(from: position, options: 0) }
        guard let ranges, let whole = ranges.first.flatMap({ $0 }) else {
            isOver = true
            return nil
        }
        lastWasEmpty = whole.isEmpty
        position = max(whole.upperBound, position)
        if pattern.isAnchored { isOver = true }
        return Match(ranges: ranges, in: bytes, names: pattern.names)
    }

    private func find(from first: Int, options: UInt32) throws(PatternError) -> [Range<Int>?]? {
        let onePlace = pattern.isAnchored || options & PCRE2_ANCHORED != 0
        var from = first
        while true {
            let last = onePlace ? from : min(from + stretch, bytes.count)
            let begun = ContinuousClock.now
            if begun - start > pattern.limits.time { throw .tooExpensive }
            let code = run(from: from, last: last, options: options)
            if code > 0 { return ranges(count: Int(code)) }
            switch code {
            case PCRE2_ERROR_NOMATCH: break
            case PCRE2_ERROR_MATCHLIMIT, PCRE2_ERROR_HEAPLIMIT, PCRE2_ERROR_DEPTHLIMIT: throw .tooExpensive
            default: throw .library(code)
            }
            if onePlace || last >= bytes.count { return nil }
            from = characterStart(from: last + 1)
            let took = ContinuousClock.now - begun
            if took < .milliseconds(1) { stretch = min(stretch * 2, Self.stretches.upperBound) }
            if took > .milliseconds(5) { stretch = max(stretch / 2, Self.stretches.lowerBound) }
        }
    }

    private func run(from first: Int, last: Int, options: UInt32) -> Int32 {
        pcre2_set_offset_limit_8(context, last)
        let options = options | PCRE2_NO_UTF_CHECK
        return bytes.withUnsafeBufferPointer { buffer in
            let code = pcre2_match_8(pattern.code, buffer.baseAddress, buffer.count, first, options, data, context)
            // Compiled code works on a small stack; the interpreter has the heap, up to its limit.
            guard code == PCRE2_ERROR_JIT_STACKLIMIT else { return code }
            return pcre2_match_8(
                pattern.code, buffer.baseAddress, buffer.count, first, options | PCRE2_NO_JIT, data, context)
        }
    }

    private func ranges(count: Int) -> [Range<Int>?] {
        let vector = pcre2_get_ovector_pointer_8(data)
        return (0..<Int(pcre2_get_ovector_count_8(data))).map { group in
            guard group < count, let vector else { return nil }
            let (start, end) = (vector[2 * group], vector[2 * group + 1])
            guard start >= 0, end >= start, end <= bytes.count else { return nil }  // "not set" is the largest size
            return start..<end
        }
    }

    private func characterStart(from offset: Int) -> Int {
        var offset = offset
        while offset < bytes.count, bytes[offset] & 0xC0 == 0x80 { offset += 1 }
        return offset
    }
}
