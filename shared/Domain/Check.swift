/// What a process found when it looked at something that it depends on, for `bgagent doctor`.
///
/// A failing check says exactly one thing to do. Neither text holds a secret.
package struct Check: Sendable, Hashable, Codable {
    /// What was looked at: `broker`, `clock`, `disk`.
    package let name: String
    package let ok: Bool
    /// What was seen.
    package let detail: String
    /// What to do; nil when all is well.
    package let remedy: String?

    private init(_ name: String, ok: Bool, detail: String, remedy: String?) {
        self.name = name
        self.ok = ok
        self.detail = String(detail.prefix(500))
        self.remedy = remedy
    }

    /// All is well.
    package static func passed(_ name: String, _ detail: String) -> Check {
        Check(name, ok: true, detail: detail, remedy: nil)
    }

    /// Something is wrong, and this is what mends it.
    package static func failed(_ name: String, _ detail: String, remedy: String) -> Check {
        Check(name, ok: false, detail: detail, remedy: remedy)
    }
}
