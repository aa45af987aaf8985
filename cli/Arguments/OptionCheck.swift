import FoundationEssentials

/// Checks and reads option values: the one place that knows how a number, an amount or a time is written.
package enum OptionCheck {
    /// - Throws: ``UserError`` that says what the option takes.
    package static func check(_ text: String, _ option: Option) throws {
        func refuse(_ wanted: String) -> UserError {
            UserError("--\(option.name) takes \(wanted), not '\(Text.visible(text))'", option.help)
        }
        switch option.value {
        case .flag, .text, .file:
            if option.value != .flag, text.isEmpty { throw refuse("a value") }
        case .whole(let minimum):
            guard let number = Int(text), number >= minimum else { throw refuse("a whole number from \(minimum)") }
        case .money:
            guard money(text) != nil else { throw refuse("an amount in US dollars like 2.50") }
        case .duration:
            guard seconds(text) != nil else { throw refuse("a time like 90s, 15m, 8h or 2d") }
        case .choice(let words):
            guard words.contains(text) else {
                let nearest = Suggestion.nearest(to: text, among: words).map { " Did you mean '\($0)'?" } ?? ""
                throw UserError(
                    "--\(option.name) can be \(words.joined(separator: ", ")), not '\(Text.visible(text))'.\(nearest)",
                    option.help)
            }
        case .truth:
            guard text == "yes" || text == "no" else { throw refuse("yes or no") }
        }
    }

    /// Dollars above zero with at most four decimals, else nil.
    package static func money(_ text: String) -> Double? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), text.utf8.count <= 16 else { return nil }
        guard parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (48...57).contains($0) } }) else { return nil }
        guard parts.count == 1 || parts[1].utf8.count <= 4 else { return nil }
        guard let amount = Double(text), amount > 0 else { return nil }
        return amount
    }

    /// Whole seconds above zero, else nil.
    package static func seconds(_ text: String) -> Int? {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        var digits = text
        var factor = 1
        if let last = text.last, let unit = units[last] {
            factor = unit
            digits.removeLast()
        }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits) else {
            return nil
        }
        let (total, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow || total < 1 ? nil : total
    }
}
