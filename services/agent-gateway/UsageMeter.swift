import Domain
import Glibc

/// Tokens of one call, as the model's API counts them.
struct TokenUsage: Sendable, Hashable {
    var input: Int64 = 0
    var output: Int64 = 0
    var cacheWrite5m: Int64 = 0
    var cacheWrite1h: Int64 = 0
    var cacheRead: Int64 = 0

    var cacheWrite: Int64 { cacheWrite5m + cacheWrite1h }

    /// Takes over what a `usage` object says; what it does not say stays. Counts of a stream are cumulative.
    mutating func take(_ usage: JSONValue) {
        func count(_ name: String) -> Int64? { usage[name]?.integer.map { min(max($0, 0), 1 << 32) } }
        input = count("input_tokens") ?? input
        output = max(output, count("output_tokens") ?? 0)
        cacheRead = count("cache_read_input_tokens") ?? cacheRead
        if let hour = usage["cache_creation"]?["ephemeral_1h_input_tokens"]?.integer {
            cacheWrite1h = min(max(hour, 0), 1 << 32)
        }
        if let all = count("cache_creation_input_tokens") { cacheWrite5m = max(0, all - cacheWrite1h) }
    }
}

/// Reads along what a call costs while the answer passes by. Changes nothing, and no answer can make it fail.
struct UsageMeter: Sendable {
    /// A longer line is content, whatever it is.
    private static let longestKept = 1 << 20
    /// What is kept of a line that nobody reads: enough to see what it is.
    private static let longestName = 64

    private(set) var usage = TokenUsage()
    /// As the answer names it.
    private(set) var model: String?
    /// False: nothing was said about tokens, so what was sent has to be estimated.
    private(set) var isKnown = false
    /// The answer is whole.
    private(set) var isComplete = false

    /// What a line of a stream is about.
    private enum Event {
        /// A part of the content: nearly all of an answer, and only its length counts.
        case content
        /// Says what is counted.
        case count
        case other

        init(_ name: ArraySlice<UInt8>) {
            if name.elementsEqual("content_block_delta".utf8) {
                self = .content
            } else if ["message_start", "message_delta", "message_stop"].contains(where: { name.elementsEqual($0.utf8) }
            ) {
                self = .count
            } else {
                self = .other
            }
        }
    }

    private var line: [UInt8] = []
    private var lineLength = 0
    private var event = Event.other
    /// Tokens of content that passed by, roughly: all there is to go by when a stream breaks off before it says so.
    private var passed: Int64 = 0

    /// A stream of server-sent events goes by in parts of any size.
    mutating func feed(_ bytes: UnsafeRawBufferPointer) {
        guard var next = bytes.baseAddress else { return }
        let limit = next + bytes.count
        // Every byte of every answer comes through here: the C library looks for the end of a line ten times faster.
        while next < limit, let end = memchr(next, 10, limit - next).map({ UnsafeRawPointer($0) }) {
            keep(UnsafeRawBufferPointer(start: next, count: end - next))
            endLine()
            next = end + 1
        }
        keep(UnsafeRawBufferPointer(start: next, count: limit - next))
    }

    /// An answer that is one JSON document.
    mutating func take(message bytes: [UInt8]) {
        guard let message = try? JSONText.decode(JSONValue.self, bytes: bytes) else { return }
        read(message)
        isComplete = isKnown
    }

    /// Counts that are as good as they get: the last word of the model, or what passed by when it said none.
    var counted: TokenUsage {
        var usage = usage
        if !isComplete { usage.output = max(usage.output, passed) }
        return usage
    }

    private mutating func keep(_ part: UnsafeRawBufferPointer) {
        lineLength += part.count
        let most = event == .count ? UsageMeter.longestKept : UsageMeter.longestName
        if line.count < most { line += part.prefix(most - line.count) }
    }

    private mutating func endLine() {
        defer {
            line.removeAll(keepingCapacity: true)
            lineLength = 0
        }
        if line.starts(with: "event:".utf8) {
            event = Event(line.dropFirst(6).drop { $0 == 32 }.prefix { $0 != 13 })
        } else if line.starts(with: "data:".utf8) {
            data(line.dropFirst(5))
        }
    }

    private mutating func data(_ bytes: ArraySlice<UInt8>) {
        switch event {
        // What is around the text of a delta takes about 90 bytes, and four characters are about a token.
        case .content: passed += max(1, Int64(lineLength - 90) / 4)
        case .count:
            guard let value = try? JSONText.decode(JSONValue.self, bytes: bytes) else { return }
            switch value["type"]?.string {
            case "message_start": if let message = value["message"] { read(message) }
            case "message_delta": if let counts = value["usage"] { usage.take(counts) }
            case "message_stop": isComplete = true
            default: return
            }
        case .other: return
        }
    }

    private mutating func read(_ message: JSONValue) {
        model = message["model"]?.string ?? model
        guard let counts = message["usage"], counts.object != nil else { return }
        usage.take(counts)
        isKnown = true
    }
}
