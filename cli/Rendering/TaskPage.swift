import Domain
import FoundationEssentials

/// A task for people: its row in a list, everything about it, and how it ended.
package enum TaskPage {
    /// The table of `bgagent list`.
    package static func table(_ tasks: [JSONValue], now: Double) -> Table {
        var table = Table(["TASK", "STATE", "REPOSITORY", "AGE", "WHAT"], flexible: 4)
        for task in tasks {
            let state = task.text("status") ?? "–"
            let issue = task.whole("issue_number").map { " #\($0)" } ?? ""
            let age = Moment.date(task.text("created_at")).map { Int(now - $0.timeIntervalSince1970) }
            let what = task.text("pr_url") ?? task.text("task_description") ?? "–"
            table.add([
                .init(task.text("task_id") ?? "–"), .init(state, Style.colour(ofState: state)),
                .init((task.text("repo") ?? "–") + issue), .init(age.map { Moment.length(seconds: $0) } ?? "–"),
                .init(what),
            ])
        }
        return table
    }

    /// The lines of `bgagent show`.
    package static func lines(_ task: JSONValue, style: Style) -> [String] {
        var fields = Fields()
        let state = task.text("status") ?? "unknown"
        fields.add("Task", task.text("task_id"))
        fields.add("State", state, Style.colour(ofState: state))
        fields.add("Outcome", task.text("outcome"))
        fields.add("Repository", task.text("repo"))
        fields.add("Issue", task.whole("issue_number").map { "#\($0)" })
        fields.add("Description", task.text("task_description"))
        fields.add("Branch", task.text("branch_name"))
        fields.add("Head", task.text("head_sha"))
        fields.add("Pull request", task.text("pr_url"), .green)
        fields.add("Attempt", task.whole("attempt").map(String.init))
        fields.add("Turns", "\(task.whole("turns") ?? 0)\(task.whole("max_turns").map { "/\($0)" } ?? "")")
        let budget = task.amount("max_budget_usd").map { Amount.dollars($0) } ?? "no limit"
        fields.add("Cost", "\(Amount.dollars(task.amount("cost_usd") ?? 0)) / \(budget)")
        fields.add("Time limit", task.whole("max_duration_s").map { Moment.length(seconds: $0) })
        fields.add("Retry of", task.text("retry_of"))
        let allowed = task.member("allowed_scopes")?.array?.compactMap(\.string) ?? []
        fields.add("Allowed", allowed.isEmpty ? nil : allowed.joined(separator: ", "))
        fields.add("Queue", task.whole("queue_position").map { "place \($0)" })
        fields.add("Created", task.text("created_at"))
        fields.add("Started", task.text("started_at"))
        fields.add("Completed", task.text("completed_at"))
        return fields.lines(style: style) + answer(task, style: style)
            + ErrorLines.make(task.member("error_classification"), style: style)
    }

    /// What a person wants to know when a task has ended.
    package static func ending(_ task: JSONValue, style: Style) -> [String] {
        let state = task.text("status") ?? "unknown"
        let outcome = task.text("outcome").flatMap { $0 == state.lowercased() ? nil : " (\($0))" } ?? ""
        var facts: [String] = []
        if let start = Moment.date(task.text("started_at") ?? task.text("created_at")),
            let end = Moment.date(task.text("completed_at"))
        {
            facts.append("after " + Moment.length(seconds: Int(end.timeIntervalSince(start))))
        }
        if let turns = task.whole("turns"), turns > 0 { facts.append(Amount.count(turns, "turn")) }
        if let cost = task.amount("cost_usd"), cost > 0 { facts.append(Amount.dollars(cost)) }
        let first =
            style.paint(Text.visible(state + outcome), Style.colour(ofState: state))
            + (facts.isEmpty ? "" : "  " + facts.joined(separator: ", "))
        var fields = Fields()
        fields.add("Pull request", task.text("pr_url"), .green)
        if task.text("pr_url") == nil { fields.add("Branch", task.text("branch_name")) }
        let showsAnswer = task.text("outcome") == TaskOutcome.noChange.rawValue
        return ["", first] + fields.lines(style: style) + (showsAnswer ? answer(task, style: style) : [])
            + ErrorLines.make(task.member("error_classification"), style: style)
    }

    private static func answer(_ task: JSONValue, style: Style) -> [String] {
        guard let text = task.text("answer_text") else { return [] }
        return ["", style.paint("The agent says:", .dim)] + Text.visibleLines(text).map { "  " + $0 }
    }
}
