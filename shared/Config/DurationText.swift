/// Durations as people write them in settings.
package enum DurationText {
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
        ("ms", 1_000_000), ("us", 1000),
    ]

    /// Reads `500ms`, `30s`, `5m`, `1h30m`, `2d`, `1.5` or `90` (seconds); nil when it is nothing of the kind.
    package static func read(_ text: String) -> Duration? {
        if text.utf8.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: ".") }), let seconds = Double(text) {
            return seconds < 9_000_000_000 ? .nanoseconds(Int64(seconds * 1e9)) : nil
        }
        var rest = Array(text.utf8)[...]
        var total: Int64 = 0
        var smallest = Int64.max
        while !rest.isEmpty {
            let digits = rest.prefix(while: isDigit)
            let unit = rest.dropFirst(digits.count).prefix { !isDigit($0) }
            guard let count = Int64(String(decoding: digits, as: UTF8.self)),
                let known = units.first(where: { $0.name.utf8.elementsEqual(unit) }), known.nanoseconds < smallest
            else { return nil }
            smallest = known.nanoseconds
            let (product, tooMuch) = count.multipliedReportingOverflow(by: known.nanoseconds)
            let (sum, tooMany) = total.addingReportingOverflow(product)
            if tooMuch || tooMany { return nil }
            total = sum
            rest = rest.dropFirst(digits.count + unit.count)
        }
        return smallest == .max ? nil : .nanoseconds(total)
    }

    /// The shortest form that `read` takes back: `1h30m`, `500ms`, `0s`.
    package static func write(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        var rest = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
        var text = ""
        for unit in units where rest >= unit.nanoseconds {
            text += "\(rest / unit.nanoseconds)\(unit.name)"
            rest %= unit.nanoseconds
        }
        return text.isEmpty ? "0s" : text
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte)
    }
}
