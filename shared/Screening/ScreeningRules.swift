import FoundationEssentials
import Patterns

/// What was found in a text that an agent would read.
package struct ScreeningFinding: Sendable, Hashable {
    /// The rule's name, or what the endpoint calls it.
    package let rule: String
    /// For people: what it means.
    package let says: String

    package init(rule: String, says: String) {
        self.rule = rule
        self.says = says
    }
}

/// The rules that need nobody's answer: the same text is always judged the same, and a finding names what fitted.
package struct ScreeningRules: Sendable {
    private struct Rule: Decodable {
        let name: String
        let says: String
        let pattern: String
        let ignoreCase: Bool?

        enum CodingKeys: String, CodingKey {
            case name, says, pattern
            case ignoreCase = "ignore_case"
        }
    }

    private struct File: Decodable {
        let version: Int
        let rules: [Rule]
    }

    /// Of the rules: told with every refusal, so that it can be understood later.
    package let version: Int
    private let rules: [(finding: ScreeningFinding, pattern: Pattern)]

    /// Throws when the rules cannot be read, which a test of this build would have shown.
    package init() throws {
        let file = try JSONDecoder().decode(File.self, from: Data(PackageResources.screening_json))
        version = file.version
        rules = try file.rules.map { rule in
            (
                ScreeningFinding(rule: rule.name, says: rule.says),
                try Pattern(rule.pattern, rule.ignoreCase ?? false ? .caseInsensitive : [])
            )
        }
    }

    /// The first rule that fits, in the order of the file. Throws when one cannot get through the text.
    package func finding(in text: String) throws -> ScreeningFinding? {
        for (finding, pattern) in rules where try pattern.isMatch(text) { return finding }
        return nil
    }
}
