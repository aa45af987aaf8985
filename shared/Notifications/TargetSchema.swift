import Domain

/// Where a channel's target comes from. Written to the channel's row, so that fanout can tell targets without knowing
/// channels.
package struct TargetSchema: Sendable, Hashable {
    /// A place to look for a target.
    package enum Source: String, Sendable, CaseIterable {
        /// The preference named by `setting`; then the channel's default target.
        case setting
        /// The address of the user whose task it is.
        case userEmail = "user_email"
        /// `owner/name#number` of the issue that the task is about, else of its pull request.
        case subject
    }

    /// The name of the preference that holds a target, and of the origin's word for where it stands.
    package var setting: String
    /// Tried in this order.
    package var sources: [Source]
    /// What a target is, for people.
    package var purpose: String

    package init(setting: String, sources: [Source] = [.setting], purpose: String = "") {
        self.setting = setting
        self.sources = sources
        self.purpose = purpose
    }

    /// Reads what a row holds; what is missing or unknown falls back to the plain preference `channel`.
    package init(_ value: JSONValue) {
        let named = value["sources"]?.array?.compactMap { $0.string.flatMap(Source.init(rawValue:)) } ?? []
        self.init(
            setting: value["setting"]?.string ?? "channel", sources: named.isEmpty ? [.setting] : named,
            purpose: value["description"]?.string ?? "")
    }

    /// The form in the row.
    package var json: JSONValue {
        [
            "setting": .string(setting), "sources": .array(sources.map { .string($0.rawValue) }),
            "description": .string(purpose),
        ]
    }
}
