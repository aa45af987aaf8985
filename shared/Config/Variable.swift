/// One environment variable as the documentation lists it.
package struct Variable: Sendable, Hashable {
    /// The variable's name.
    package let name: String
    /// What may stand there, in words: `text`, `integer 0…65535`, `duration`.
    package let type: String
    /// The default as one would write it; nil when there is none.
    package let defaultText: String?
    /// True when a process does not start without it.
    package let isRequired: Bool
    /// True when it is also read from the file that `NAME_FILE` names, and never shown.
    package let isSecret: Bool
    /// What it is for.
    package let purpose: String

    /// A row of the table in `docs/configuration.md`: name, type, default, what it is for.
    package var markdownRow: String {
        let names = isSecret ? "`\(name)`, `\(name)_FILE`" : "`\(name)`"
        let fallback =
            if isRequired { "required" } else { defaultText.map { $0.isEmpty ? "empty" : "`\($0)`" } ?? "not set" }
        return "| \(names) | \(escaped(type)) | \(escaped(fallback)) | \(escaped(purpose)) |"
    }

    private func escaped(_ text: String) -> String {
        text.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
    }
}
