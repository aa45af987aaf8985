/// An amount of money in millionths of a US dollar: exact, as the database's numeric(…, 6) is.
package struct USD: Hashable, Sendable, Comparable, CustomStringConvertible {
    package var micros: Int64

    package init(micros: Int64) { self.micros = micros }

    /// The nearest millionth. Nil for what is no amount (NaN, infinite, beyond ±9 trillion).
    package init?(dollars: Double) {
        let micros = (dollars * 1_000_000).rounded()
        guard micros.isFinite, abs(micros) < 9e18 else { return nil }
        self.micros = Int64(micros)
    }

    package static let zero = USD(micros: 0)
    package var dollars: Double { Double(micros) / 1_000_000 }

    package static func < (left: USD, right: USD) -> Bool { left.micros < right.micros }
    package static func + (left: USD, right: USD) -> USD { USD(micros: left.micros + right.micros) }
    package static func - (left: USD, right: USD) -> USD { USD(micros: left.micros - right.micros) }

    /// Dollars with six decimals: what Postgres reads as numeric.
    package var description: String {
        let magnitude = micros.magnitude
        let fraction = String(magnitude % 1_000_000)
        let zeros = String(repeating: "0", count: 6 - fraction.count)
        return "\(micros < 0 ? "-" : "")\(magnitude / 1_000_000).\(zeros)\(fraction)"
    }
}
