/// Numbers for people.
package enum Amount {
    /// `$0.42`; below ten cents four decimals, so that the first calls of a model are not `$0.00`.
    package static func dollars(_ amount: Double?) -> String {
        guard let amount, amount.isFinite, amount >= 0, amount < 1e12 else { return "–" }
        let decimals = amount > 0 && amount < 0.1 ? 4 : 2
        let scale = decimals == 4 ? 10_000 : 100
        let units = Int((amount * Double(scale)).rounded())
        let fraction = String(units % scale)
        return "$\(units / scale)." + String(repeating: "0", count: decimals - fraction.count) + fraction
    }

    /// `512 bytes`, `1.4 MB`.
    package static func size(_ bytes: Int) -> String {
        if bytes < 1_000 { return count(bytes, "byte") }
        let (unit, name) = bytes < 1_000_000 ? (1_000, "kB") : (1_000_000, "MB")
        let tenths = (bytes * 10 + unit / 2) / unit
        return "\(tenths / 10).\(tenths % 10) \(name)"
    }

    /// `1 turn`, `7 turns`.
    package static func count(_ number: Int, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }
}
