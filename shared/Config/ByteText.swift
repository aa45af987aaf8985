/// Numbers of bytes as people write them in settings, in powers of 1024.
package enum ByteText {
    private static let units: [(name: Character, size: Int64)] = [
        ("t", 1 << 40), ("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10),
    ]

    /// Reads `64k`, `512m`, `8g`, `1t` or plain bytes; nil when it is nothing of the kind.
    package static func read(_ text: String) -> Int64? {
        let lowered = text.lowercased()
        let unit = units.first { lowered.last == $0.name }
        let digits = unit == nil ? lowered[...] : lowered.dropLast()
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int64(digits) else {
            return nil
        }
        let (product, overflow) = count.multipliedReportingOverflow(by: unit?.size ?? 1)
        return overflow ? nil : product
    }

    /// The shortest form that `read` takes back.
    package static func write(_ bytes: Int64) -> String {
        guard bytes > 0, let unit = units.first(where: { bytes % $0.size == 0 }) else { return "\(bytes)" }
        return "\(bytes / unit.size)\(unit.name)"
    }
}
