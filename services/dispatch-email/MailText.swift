import Domain
import Notifications

/// What a mail says, twice: as plain text and as HTML. Pure.
struct MailText: Sendable, Hashable {
    let subject: String
    let plain: String
    let html: String
    let taskID: String
    /// `owner/name`, for filters.
    let repo: String

    init(_ notification: TaskNotification) {
        let text = NotificationText(notification)
        taskID = notification.task.id
        repo = notification.task.repo
        subject = "[\(repo)] \(text.title) – \(text.task)"
        var plain = ["\(text.title)", "", "Task:     \(text.task)", "Repo:     \(repo)"]
        plain += text.link.map { ["PR:       \($0)"] } ?? []
        plain += text.facts.map { MailText.label($0.label) + $0.value }
        plain += text.detail.map { ["", $0] } ?? []
        plain += text.remedy.map { ["", "What to do: \($0)"] } ?? []
        plain += ["", "See more with: \(text.command)", ""]
        self.plain = plain.joined(separator: "\n")
        html = MailText.html(text, repo: repo)
    }

    private static func label(_ label: String) -> String {
        "\(label):" + String(repeating: " ", count: max(1, 9 - label.count))
    }

    private static func html(_ text: NotificationText, repo: String) -> String {
        var rows = [("Task", escape(text.task)), ("Repo", escape(repo))]
        if let link = text.link {
            let isPlain = link.hasPrefix("https://") || link.hasPrefix("http://")
            rows.append(("PR", isPlain ? "<a href=\"\(escape(link))\">\(escape(link))</a>" : escape(link)))
        }
        rows += text.facts.map { (escape($0.label), escape($0.value)) }
        let table = rows.map { "<tr><td>\($0.0)</td><td>\($0.1)</td></tr>" }.joined(separator: "\n")
        let detail = text.detail.map { "<pre style=\"white-space:pre-wrap\">\(escape($0))</pre>\n" } ?? ""
        let remedy = text.remedy.map { "<p><strong>What to do:</strong> \(escape($0))</p>\n" } ?? ""
        return """
            <!DOCTYPE html>
            <html><body style="font-family:sans-serif">
            <p><strong>\(escape(text.title))</strong></p>
            <table cellpadding="4">
            \(table)
            </table>
            \(detail)\(remedy)<p>See more with: <code>\(escape(text.command))</code></p>
            </body></html>

            """
    }

    static func escape(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
