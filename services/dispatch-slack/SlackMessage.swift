import Domain
import Notifications

/// A notification in Slack's mrkdwn. Pure.
struct SlackMessage: Sendable, Hashable {
    /// What happened; enough for a reply in the task's thread.
    let update: String
    /// The same with the task's name above it: for the first message, which starts the thread.
    let root: String

    /// Slack cuts what is longer.
    static let longest = 40_000

    init(_ notification: TaskNotification) {
        let text = NotificationText(notification)
        var lines = ["*\(SlackMessage.escape(text.title))*"]
        if let detail = text.detail { lines.append(SlackMessage.quote(detail)) }
        if let remedy = text.remedy { lines.append("What to do: \(SlackMessage.escape(remedy))") }
        if let link = text.link { lines.append(SlackMessage.link(link, to: notification.task.pullRequest)) }
        if notification.type.map(TaskEventType.finals.contains) ?? false, !text.facts.isEmpty {
            lines.append(text.facts.map { SlackMessage.escape("\($0.label) \($0.value)") }.joined(separator: " · "))
        }
        lines.append("`\(text.command)`")
        update = SlackMessage.cut(lines.joined(separator: "\n"))
        let heading = "*\(SlackMessage.escape(notification.task.repo))* · \(SlackMessage.escape(text.task))"
        root = SlackMessage.cut(([heading] + lines).joined(separator: "\n"))
    }

    /// The three characters that mean something in mrkdwn; what is inside can then mention, link or format nobody.
    static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }

    private static func quote(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { "> " + escape(String($0)) }
            .joined(separator: "\n")
    }

    private static func link(_ url: String, to number: Int?) -> String {
        let isPlain = url.utf8.allSatisfy { $0 > 32 && $0 != UInt8(ascii: "|") && $0 != 127 }
        guard isPlain, url.hasPrefix("https://") || url.hasPrefix("http://") else { return escape(url) }
        return "<\(escape(url))|Pull request\(number.map { " #\($0)" } ?? "")>"
    }

    /// Never inside an entity: a half `&amp;` would be shown as it is.
    private static func cut(_ text: String) -> String {
        if text.unicodeScalars.count <= longest { return text }
        var kept = Substring(String(String.UnicodeScalarView(text.unicodeScalars.prefix(longest - 8))))
        if let entity = kept.suffix(6).lastIndex(of: "&"), !kept[entity...].contains(";") { kept = kept[..<entity] }
        return kept + "…"
    }
}
