import Domain
import Forge
import Store

/// What the pull request says. Pure.
enum PullRequestText {
    static func make(
        _ task: TaskRecord, result: JSONValue, issueTitle: String?, isDraft: Bool, cost: USD, turns: Int
    ) -> NewPullRequest {
        NewPullRequest(
            title: title(task, issueTitle: issueTitle),
            body: body(task, result, isDraft: isDraft, cost: cost, turns: turns),
            head: task.branchName, base: task.baseBranch ?? "main", isDraft: isDraft)
    }

    private static func title(_ task: TaskRecord, issueTitle: String?) -> String {
        let text = issueTitle ?? task.description ?? "Task \(task.id)"
        let line = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? "Task \(task.id)"
        return line.count <= 72 ? line : String(line.prefix(71)) + "…"
    }

    private static func body(_ task: TaskRecord, _ result: JSONValue, isDraft: Bool, cost: USD, turns: Int) -> String {
        var text = ""
        if isDraft { text += "> **Draft:** the checks below are still red.\n\n" }
        text += "## Summary\n\n\(result["summary"]?.string ?? "No summary was given.")\n\n"
        if let number = task.issueNumber { text += "Resolves #\(number)\n\n" }
        text += "## Verification\n\n"
        if let command = result["verification"]?["command"]?.string {
            let passed = result["verification"]?["passed"]?.bool ?? false
            let attempts = result["verification"]?["attempts"]?.integer ?? 1
            text += "| command | result | attempts |\n|---|---|---|\n"
            text += "| `\(command.replacing("|", with: "\\|"))` | \(passed ? "pass" : "FAIL") | \(attempts) |\n\n"
        } else {
            text += "No tests were found to run.\n\n"
        }
        let cents = (cost.micros + 5_000) / 10_000
        let amount = "\(cents / 100).\(cents % 100 < 10 ? "0" : "")\(cents % 100)"
        text += "## Task\n\n`\(task.id)` · attempt \(task.attempt) · \(turns) turns · $\(amount)\n\n"
        return text + "<!-- bgagent:task-id=\(task.id) -->\n"
    }
}
