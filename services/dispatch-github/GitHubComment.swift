import Domain
import Notifications

/// The one comment of a task, in GitHub's Markdown. Pure.
struct GitHubComment: Sendable, Hashable {
    /// The first line; nothing else tells our comments from each other.
    let marker: String
    let body: String
    /// Which credential of the repository to write with.
    let credentialRef: String?

    /// GitHub takes 65,536.
    static let longest = 60_000

    init(_ notification: TaskNotification) {
        let (task, text) = (notification.task, NotificationText(notification))
        marker = GitHubComment.marker(of: task.id)
        credentialRef = task.credentialRef
        var rows: [(String, String)] = [
            ("Task", "`\(task.id)`"), ("Repo", GitHubComment.cell(task.repo)),
            ("Status", GitHubComment.cell(task.status)),
            ("Last event", GitHubComment.cell("\(notification.event.type) · \(notification.event.timestamp)")),
        ]
        if let link = text.link {
            rows.append(("PR", task.pullRequest.map { "#\($0)" } ?? GitHubComment.cell(link)))
        }
        if let seconds = task.durationSeconds { rows.append(("Duration", Amounts.time(seconds: seconds))) }
        rows.append(("Cost", Amounts.money(USD(micros: task.costMicros))))
        var lines = [marker, "**\(GitHubComment.escape(text.title))**", "", "| | |", "|---|---|"]
        lines += rows.map { "| \($0.0) | \($0.1) |" }
        if let detail = text.detail { lines += ["", GitHubComment.fenced(detail)] }
        if let remedy = text.remedy { lines += ["", "**What to do:** \(GitHubComment.escape(remedy))"] }
        lines += ["", "More: `\(text.command)`"]
        let whole = lines.joined(separator: "\n")
        body =
            whole.unicodeScalars.count <= GitHubComment.longest
            ? whole : String(String.UnicodeScalarView(whole.unicodeScalars.prefix(GitHubComment.longest - 1))) + "…"
    }

    static func marker(of task: String) -> String { "<!-- bgagent:task-id=\(task) -->" }

    /// Text of others inside a table: one line, no cell borders, and nobody is mentioned.
    static func cell(_ text: String) -> String {
        escape(text.split(whereSeparator: \.isNewline).joined(separator: " ")).replacing("|", with: "\\|")
    }

    /// Takes from Markdown and HTML what they would make of it; an `@` mentions nobody.
    static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "@": escaped += "@\u{200B}"
            case "\\", "`", "*", "_", "[", "]", "#", "~": escaped += "\\\(character)"
            default: escaped.append(character)
            }
        }
        return escaped
    }

    /// Text of others as a block: with a fence longer than any inside it.
    static func fenced(_ text: String) -> String {
        var longest = 0
        var run = 0
        for byte in text.utf8 {
            run = byte == UInt8(ascii: "`") ? run + 1 : 0
            longest = max(longest, run)
        }
        let fence = String(repeating: "`", count: max(3, longest + 1))
        return "\(fence)text\n\(text)\n\(fence)"
    }
}
