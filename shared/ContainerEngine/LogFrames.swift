/// One piece of a container's output: a line, or a part of a very long one.
package struct LogEntry: Sendable, Hashable {
    /// 1 = standard output, 2 = standard error.
    package let stream: UInt8
    /// When it came, in nanoseconds since 1970; 0 when the engine does not say.
    package let time: Int64
    package let text: [UInt8]

    package init(stream: UInt8, time: Int64, text: [UInt8]) {
        self.stream = stream
        self.time = time
        self.text = text
    }
}

/// Takes apart what the engine answers for logs with time stamps: frames of eight bytes and a payload.
package struct LogFrames {
    private var buffer: [UInt8] = []

    package init() {}

    /// Adds bytes as they come, whatever their cut, and returns what is whole.
    package mutating func add(_ bytes: some Sequence<UInt8>) -> [LogEntry] {
        buffer += bytes
        var entries: [LogEntry] = []
        var start = 0
        while buffer.count - start >= 8 {
            let size = buffer[(start + 4)..<(start + 8)].reduce(0) { $0 << 8 | Int($1) }
            guard buffer.count - start >= 8 + size else { break }
            entries.append(Self.entry(buffer[start], buffer[(start + 8)..<(start + 8 + size)]))
            start += 8 + size
        }
        buffer.removeFirst(start)
        return entries
    }

    private static func entry(_ stream: UInt8, _ payload: ArraySlice<UInt8>) -> LogEntry {
        guard let space = payload.firstIndex(of: UInt8(ascii: " ")),
            let time = EngineTime.nanoseconds(String(decoding: payload[..<space], as: UTF8.self))
        else { return LogEntry(stream: stream, time: 0, text: Array(payload)) }
        return LogEntry(stream: stream, time: time, text: Array(payload[payload.index(after: space)...]))
    }
}

/// Times as engines write them.
package enum EngineTime {
    /// Reads `2026-11-26T20:01:11.947464018Z` or one with an offset; nil when it is nothing of the kind.
    package static func nanoseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes[10] == UInt8(ascii: "T") else { return nil }
        let number = { (range: Range<Int>) in Int64(String(decoding: bytes[range], as: UTF8.self)) }
        guard let year = number(0..<4), let month = number(5..<7), (1...12).contains(month), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        let fraction = bytes[19] == UInt8(ascii: ".") ? bytes[20...].prefix { (0x30...0x39).contains($0) } : []
        let zone = bytes[(fraction.isEmpty ? 19 : 20 + fraction.count)...]
        guard fraction.count <= 9, let offset = offset(zone) else { return nil }
        var nanoseconds: Int64 = 0
        for place in 0..<9 {
            let digit = place < fraction.count ? fraction[fraction.startIndex + place] - 0x30 : 0
            nanoseconds = nanoseconds * 10 + Int64(digit)
        }
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        return seconds * 1_000_000_000 + nanoseconds
    }

    /// Seconds east of Greenwich; nil when it is no zone.
    private static func offset(_ zone: ArraySlice<UInt8>) -> Int64? {
        let zone = Array(zone)
        if zone == [UInt8(ascii: "Z")] { return 0 }
        guard zone.count == 6, zone[0] == UInt8(ascii: "+") || zone[0] == UInt8(ascii: "-"),
            let hours = Int64(String(decoding: zone[1..<3], as: UTF8.self)),
            let minutes = Int64(String(decoding: zone[4..<6], as: UTF8.self))
        else { return nil }
        return (zone[0] == UInt8(ascii: "-") ? -1 : 1) * (hours * 3600 + minutes * 60)
    }

    /// Days since 1970 in the Gregorian calendar, counted in years that begin in March.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let century = shifted / 400
        let ofCentury = shifted - century * 400
        let ofYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return century * 146_097 + ofCentury * 365 + ofCentury / 4 - ofCentury / 100 + ofYear - 719_468
    }
}
