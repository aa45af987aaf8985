/// An exact decimal number as its text (`numeric`): money is never a `Double`.
package struct Money: Sendable, Hashable, PostgresEncodable, PostgresDecodable, CustomStringConvertible {
    /// Digits with an optional sign and one optional point, as the server writes it: `12.3400`.
    package let description: String

    package static var postgresType: PostgresType { .numeric }

    /// Nil unless the text is digits with an optional minus and one optional point.
    package init?(_ text: String) {
        var digits = 0
        var points = 0
        for (index, byte) in text.utf8.enumerated() {
            switch byte {
            case 0x30...0x39: digits += 1
            case UInt8(ascii: "."): points += 1
            case UInt8(ascii: "-") where index == 0: break
            default: return nil
            }
        }
        guard digits > 0, points <= 1 else { return nil }
        description = text
    }

    /// Whole millionths, the unit in which prices are counted: 1_500_000 is 1.50.
    package init(micros: Int64) {
        let magnitude = micros.magnitude
        let fraction = String(magnitude % 1_000_000)
        let padding = String(repeating: "0", count: 6 - fraction.count)
        description = "\(micros < 0 ? "-" : "")\(magnitude / 1_000_000).\(padding)\(fraction)"
    }

    /// The amount in millionths, further digits cut; nil when it does not fit.
    package var micros: Int64? {
        let isNegative = description.hasPrefix("-")
        let parts = description.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? String(parts[1].prefix(6)) : ""
        return Int64((isNegative ? "-" : "") + parts[0] + fraction + String(repeating: "0", count: 6 - fraction.count))
    }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: description.utf8)
        return true
    }

    package init(cell: Cell) throws {
        guard let value = Money(try cell.text()) else { throw cell.mismatch(Money.self) }
        self = value
    }
}
