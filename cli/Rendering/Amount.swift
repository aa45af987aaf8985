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

    /// `1 turn`, `7 turns`.
    package static func count(_ number: Int, _ noun: String) -> String {
        "\(number) \(noun)\(number == 1 ? "" : "s")"
    }
}
