import CPCRE2

/// A compiled regular expression (PCRE2 with its just-in-time compiler).
///
/// Compile once, use from any thread. Texts are Unicode; classes such as `\d` and `\w` mean ASCII unless `.unicode`.
/// A search is bounded in steps, time and memory whatever the text is (`Limits`), so a hostile text makes it throw
/// `tooExpensive`, never hang. Time is looked at between stretches of the text, so `\G` and verbs that end the whole
/// search, such as `(*COMMIT)`, have no use here.
package final class Pattern: @unchecked Sendable {
    // Sendable because compiled code is never changed after `init`; what a search writes to belongs to its `Search`.

    /// How a pattern is read.
    package struct Options: OptionSet, Sendable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) {
            self.rawValue = rawValue
        }

        /// Upper and lower case are the same.
        package static let caseInsensitive = Options(rawValue: PCRE2_CASELESS)
        /// `^` and `$` also match at line ends.
        package static let multiline = Options(rawValue: PCRE2_MULTILINE)
        /// `.` also matches a newline.
        package static let dotMatchesNewlines = Options(rawValue: PCRE2_DOTALL)
        /// White space and `#` comments in the pattern mean nothing.
        package static let extended = Options(rawValue: PCRE2_EXTENDED)
        /// The pattern must fit at the start of the text.
        package static let anchored = Options(rawValue: PCRE2_ANCHORED)
        /// `\d`, `\w`, `\s` and `\b` follow Unicode.
        package static let unicode = Options(rawValue: PCRE2_UCP)
    }

    /// What one call may use up.
    package struct Limits: Sendable {
        /// Steps back, for each place where a match may start.
        package var steps: UInt32
        /// Heap for one search, in bytes.
        package var memory: Int
        /// Bytes of text.
        package var textBytes: Int
        /// Time for the whole call, overrun by a second or two at worst.
        package var time: Duration

        package init(
            steps: UInt32 = 200_000, memory: Int = 16 << 20, textBytes: Int = 4 << 20, time: Duration = .seconds(1)
        ) {
            self.steps = steps
            self.memory = memory
            self.textBytes = textBytes
            self.time = time
        }
    }

    /// The pattern as it was written.
    package let source: String
    let code: OpaquePointer
    let limits: Limits
    let isAnchored: Bool
    let names: [String: Int]

    /// Compiles a pattern.
    ///
    /// - Throws: `PatternError.invalid` with the place of the mistake.
    package init(_ source: String, _ options: Options = [], limits: Limits = Limits()) throws(PatternError) {
        var error: Int32 = 0
        var offset = 0
        let fixed = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT
        let bytes = Array(source.utf8)
        guard let code = pcre2_compile_8(bytes, bytes.count, fixed | options.rawValue, &error, &offset, nil) else {
            throw .invalid(reason: Pattern.message(for: error), offset: offset)
        }
        // A processor without a code generator is slower, not wrong.
        _ = pcre2_jit_compile_8(code, PCRE2_JIT_COMPLETE)
        self.source = source
        self.code = code
        self.limits = limits
        isAnchored = options.contains(.anchored)
        names = Pattern.groupNames(of: code)
    }

    deinit {
        pcre2_code_free_8(code)
    }

    /// True when the pattern fits anywhere in the text.
    package func isMatch(_ text: String) throws(PatternError) -> Bool {
        try Search(self, Array(text.utf8)).next() != nil
    }

    /// The first place where the pattern fits.
    package func firstMatch(in text: String) throws(PatternError) -> Match? {
        try Search(self, Array(text.utf8)).next()
    }

    /// All places where the pattern fits, from left to right, none overlapping another.
    package func matches(in text: String) throws(PatternError) -> [Match] {
        let search = try Search(self, Array(text.utf8))
        var found: [Match] = []
        while let match = try search.next() { found.append(match) }
        return found
    }

    /// The text with every match replaced by what `replacement` makes of it.
    package func replaceAll(in text: String, with replacement: (Match) throws -> String) throws -> String {
        let bytes = Array(text.utf8)
        let search = try Search(self, bytes)
        var kept: [UInt8] = []
        var copied = 0
        while let match = try search.next() {
            kept.append(contentsOf: bytes[copied..<match.range.lowerBound])
            kept.append(contentsOf: try replacement(match).utf8)
            copied = match.range.upperBound
        }
        if copied == 0, kept.isEmpty { return text }
        kept.append(contentsOf: bytes[copied...])
        return String(decoding: kept, as: UTF8.self)
    }

    private static func message(for error: Int32) -> String {
        var text = [UInt8](repeating: 0, count: 256)
        let length = pcre2_get_error_message_8(error, &text, text.count)
        return length > 0 ? String(decoding: text.prefix(Int(length)), as: UTF8.self) : "error \(error)"
    }

    private static func groupNames(of code: OpaquePointer) -> [String: Int] {
        var count: UInt32 = 0
        var entrySize: UInt32 = 0
        var table: UnsafePointer<UInt8>?
        pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMECOUNT), &count)
        pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMEENTRYSIZE), &entrySize)
        pcre2_pattern_info_8(code, UInt32(PCRE2_INFO_NAMETABLE), &table)
        guard let table else { return [:] }
        var names: [String: Int] = [:]
        for entry in 0..<Int(count) {
            // Two bytes of group number, high byte first, then the name with a zero behind it.
            let start = table + entry * Int(entrySize)
            names[String(cString: start + 2)] = Int(start[0]) << 8 | Int(start[1])
        }
        return names
    }
}
