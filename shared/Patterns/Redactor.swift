import FoundationEssentials
import Glibc

/// Replaces what looks like a secret, by the same rules wherever text of an agent or a person is kept.
///
/// The rules are `redaction.json`, which the agent's harness reads too. Only the secret's own bytes change, and a text
/// that passed once stays as it is, so that what is sent twice stays the same.
package struct Redactor: Sendable {
    /// One entry of the file. Where the pattern has a group `secret`, that part is the secret, else all of the match.
    private struct Rule: Decodable {
        let name: String
        let pattern: String
        let ignoreCase: Bool?
        let dotAll: Bool?
        /// Bits a character that the secret must have at least: words have fewer than keys.
        let minEntropy: Double?
        /// The secret's own shape says what it is.
        let sure: Bool?

        enum CodingKeys: String, CodingKey {
            case name, pattern, sure
            case ignoreCase = "ignore_case"
            case dotAll = "dot_all"
            case minEntropy = "min_entropy"
        }
    }

    private struct File: Decodable {
        let version: Int
        let rules: [Rule]
    }

    private struct Compiled: Sendable {
        let name: String
        let pattern: Pattern
        let minEntropy: Double?
        let isSure: Bool

        /// Where the secrets are, in bytes.
        func secrets(in text: String) throws -> [Range<Int>] {
            try pattern.matches(in: text).compactMap { match in
                let range = match.range(of: "secret") ?? match.range
                if let minEntropy, Redactor.entropy(match["secret"] ?? match.text) < minEntropy { return nil }
                return range
            }
        }
    }

    /// Of the rules; what was redacted by other ones may look different.
    package let version: Int
    private let rules: [Compiled]

    /// Throws when the rules cannot be read, which a test of this build would have shown.
    package init(limits: Pattern.Limits = Pattern.Limits()) throws {
        let file = try JSONDecoder().decode(File.self, from: Data(PackageResources.redaction_json))
        version = file.version
        rules = try file.rules.map { rule in
            var options: Pattern.Options = []
            if rule.ignoreCase ?? false { options.insert(.caseInsensitive) }
            if rule.dotAll ?? false { options.insert(.dotMatchesNewlines) }
            return Compiled(
                name: rule.name, pattern: try Pattern(rule.pattern, options, limits: limits),
                minEntropy: rule.minEntropy, isSure: rule.sure ?? false)
        }
    }

    /// Which rules fit anywhere in the text, by number. Throws when one cannot get through it.
    ///
    /// - Parameter onlySure: without the rules that go by what stands around a secret instead of by its own shape.
    package func suspects(in text: String, onlySure: Bool = false) throws -> [Int] {
        try rules.indices.filter { number in
            try (!onlySure || rules[number].isSure) && rules[number].pattern.isMatch(text)
        }
    }

    /// Where those rules find secrets in the text, in bytes, each with what was found there.
    package func spans(in text: String, _ numbers: [Int]) throws -> [(Range<Int>, String)] {
        try numbers.flatMap { number in try rules[number].secrets(in: text).map { ($0, rules[number].name) } }
    }

    /// What stands in the place of a secret.
    package static func mark(_ name: String) -> String { "[redacted \(name)]" }

    /// The text without secrets. A text that the rules cannot get through is withheld whole.
    package func redact(_ text: String) -> String {
        var result = text
        for rule in rules {
            do {
                let secrets = try rule.secrets(in: result)
                if !secrets.isEmpty { result = Self.replace(secrets, by: Self.mark(rule.name), in: result) }
            } catch {
                return "[redacted]"
            }
        }
        return result
    }

    private static func replace(_ ranges: [Range<Int>], by mark: String, in text: String) -> String {
        let bytes = Array(text.utf8)
        var kept: [UInt8] = []
        var copied = 0
        for range in ranges {
            kept += bytes[copied..<range.lowerBound]
            kept += mark.utf8
            copied = range.upperBound
        }
        kept += bytes[copied...]
        return String(decoding: kept, as: UTF8.self)
    }

    /// Shannon's entropy of a text's characters, in bits a character.
    static func entropy(_ text: String) -> Double {
        var counts: [Unicode.Scalar: Int] = [:]
        for scalar in text.unicodeScalars { counts[scalar, default: 0] += 1 }
        let total = Double(text.unicodeScalars.count)
        return counts.values.reduce(0) { sum, count in
            let share = Double(count) / total
            return sum - share * log2(share)
        }
    }
}
