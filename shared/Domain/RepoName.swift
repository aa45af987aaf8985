/// A repository as people write it: `owner/name`.
package struct RepoName: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    package let rawValue: String

    /// Nil unless both parts are 1-100 of `[A-Za-z0-9._-]` and neither consists of dots alone.
    package init?(rawValue: String) {
        let parts = rawValue.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy(RepoName.isSegment) else { return nil }
        self.rawValue = rawValue
    }

    package init?(owner: String, name: String) { self.init(rawValue: "\(owner)/\(name)") }

    package var owner: String { String(rawValue.prefix { $0 != "/" }) }
    package var name: String { String(rawValue.drop { $0 != "/" }.dropFirst()) }
    package var description: String { rawValue }

    private static func isSegment(_ text: Substring) -> Bool {
        guard (1...100).contains(text.utf8.count), text.contains(where: { $0 != "." }) else { return false }
        return text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || byte == 46 || byte == 95 || byte == 45
        }
    }
}
