/// Replaces what looks like a secret, by the same rules wherever text of an agent is kept. Only the secret's own bytes
/// change, so that what is sent twice stays the same.
package struct Redactor: Sendable {
    private let patterns: [(Pattern, String)]

    /// Throws when a pattern does not compile, which a test of this build would have shown.
    package init(limits: Pattern.Limits = Pattern.Limits()) throws {
        patterns = try Redactor.sources.map { (try Pattern($0.pattern, limits: limits), $0.name) }
    }

    /// Which patterns fit anywhere in the text, by number. Throws when one cannot get through it.
    package func suspects(in text: String) throws -> [Int] {
        try patterns.indices.filter { try patterns[$0].0.isMatch(text) }
    }

    /// Where those patterns fit in the text, in bytes, each with what was found there.
    package func spans(in text: String, _ numbers: [Int]) throws -> [(Range<Int>, String)] {
        try numbers.flatMap { number in
            try patterns[number].0.matches(in: text).map { ($0.range, patterns[number].1) }
        }
    }

    /// The text without secrets. A text that the patterns cannot get through is withheld whole.
    package func redact(_ text: String) -> String {
        var result = text
        for (pattern, name) in patterns {
            do {
                result = try pattern.replaceAll(in: result) { _ in "[redacted \(name)]" }
            } catch {
                return "[redacted]"
            }
        }
        return result
    }

    private static let sources: [(name: String, pattern: String)] = [
        ("AWS key", #"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"#),
        ("GitHub token", #"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,255}\b"#),
        ("GitHub token", #"\bgithub_pat_[A-Za-z0-9_]{22,255}\b"#),
        ("Slack token", #"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"#),
        ("API key", #"\bsk-ant-[A-Za-z0-9_-]{20,}"#),
        ("session token", #"\bbg[ahgm]_[A-Za-z0-9_-]{40,}"#),
        ("private key", #"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{1,10000}?-----END [A-Z ]*PRIVATE KEY-----"#),
        ("password", #"(?<=://)[^\s/:@]{1,100}:[^\s/@]{1,200}(?=@)"#),
    ]
}
