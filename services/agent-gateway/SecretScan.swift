import Patterns

/// Something in a push that looks like a secret.
struct FoundSecret: Sendable, Hashable {
    let path: String
    /// In the new file, from 1.
    let line: Int
    /// As the rule calls it.
    let kind: String
}

/// Looks for secrets in what a push adds. Rules that guess by entropy or by a name are left out: they would refuse code
/// that merely speaks of passwords.
struct SecretScan {
    private let redactor: Redactor

    /// Throws when the rules cannot be read.
    init() throws {
        redactor = try Redactor(limits: Pattern.Limits(textBytes: 256 << 20, time: .seconds(20)))
    }

    /// The first secret in the added lines of a patch as `git diff -U0` writes it. Throws when the rules cannot get
    /// through it.
    func first(in patch: String) throws -> FoundSecret? {
        for file in SecretScan.added(in: patch) {
            let text = file.lines.map(\.text).joined(separator: "\n")
            let found = try redactor.spans(in: text, redactor.suspects(in: text, onlySure: true))
            guard let (range, kind) = found.min(by: { $0.0.lowerBound < $1.0.lowerBound }) else { continue }
            let before = text.utf8.prefix(range.lowerBound).count { $0 == UInt8(ascii: "\n") }
            return FoundSecret(path: file.path, line: file.lines[before].number, kind: kind)
        }
        return nil
    }

    /// The added lines of each file, with their numbers.
    ///
    /// Reads bytes, because git does: to Swift "\r\n" is one character that is no line feed, and a plus before a
    /// combining mark is no plus, so that what such a line adds would not be seen.
    static func added(in patch: String) -> [(path: String, lines: [(number: Int, text: Substring)])] {
        var files: [(path: String, lines: [(number: Int, text: Substring)])] = []
        var next = 0
        var isInHunk = false
        for line in patch.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            if line.starts(with: "diff --git ".utf8) {
                isInHunk = false
            } else if !isInHunk, line.starts(with: "+++ ".utf8) {
                let name = line.dropFirst(4)
                let path = name.starts(with: "b/".utf8) ? name.dropFirst(2) : name
                files.append((path: String(Substring(path)), lines: []))
            } else if line.starts(with: "@@ ".utf8), let start = newStart(line) {
                isInHunk = true
                next = start
            } else if isInHunk, line.first == UInt8(ascii: "+"), !files.isEmpty {
                files[files.count - 1].lines.append((number: next, text: Substring(line.dropFirst())))
                next += 1
            }
        }
        return files.filter { !$0.lines.isEmpty }
    }

    /// The first new line of `@@ -12,0 +13,2 @@`.
    private static func newStart(_ line: Substring.UTF8View) -> Int? {
        let fields = line.split(separator: UInt8(ascii: " "))
        guard let new = fields.first(where: { $0.first == UInt8(ascii: "+") }) else { return nil }
        return Int(Substring(new.dropFirst().prefix { $0 != UInt8(ascii: ",") }))
    }
}
