import Domain

/// The lines of `bgagent status`: always the same ones in the same order, a dash where there is nothing to say,
/// so that people find a fact by its place. A failed task adds its error and what to do about it.
package struct StatusPage: Sendable {
    private let snapshot: JSONValue

    package init(_ snapshot: JSONValue) {
        self.snapshot = snapshot
    }

    package func lines(style: Style) -> [String] {
        var fields = Fields()
        let status = snapshot.text("status") ?? "unknown"
        fields.add("Task", snapshot.text("task_id") ?? "–")
        fields.add("State", state(status), Style.colour(ofState: status))
        fields.add("Repository", repository)
        fields.add("Turn", turn)
        fields.add("Milestone", milestone)
        fields.add(isWaiting ? "Waiting for" : "Doing", doing(status))
        fields.add("Cost", cost)
        fields.add("Queue", queue)
        fields.add("Pull request", snapshot.text("pr_url") ?? "–")
        fields.add("Last event", lastEvent)
        if let bytes = snapshot.whole("trace_bytes") {
            fields.add("Trace", "\(Amount.size(bytes)); bgagent trace download \(snapshot.text("task_id") ?? "TASK")")
        }
        let page = fields.lines(style: style)
        return page + ErrorLines.make(snapshot.member("error"), style: style)
    }

    func state(_ status: String) -> String {
        let isFinal = TaskStatus(rawValue: status)?.isFinal ?? false
        let outcome = snapshot.text("outcome").flatMap { $0 == status.lowercased() ? nil : " (\($0))" } ?? ""
        guard let elapsed = snapshot.whole("elapsed_s") else { return status + outcome }
        return "\(status)\(outcome) \(isFinal ? "after" : "for") \(Moment.length(seconds: elapsed))"
    }

    var repository: String {
        guard let repo = snapshot.text("repo") else { return "–" }
        return repo + (snapshot.whole("issue_number").map { " #\($0)" } ?? "")
    }

    var turn: String {
        let limit = snapshot.whole("max_turns").map { "/\($0)" } ?? ""
        return "\(snapshot.whole("turn") ?? 0)\(limit)"
    }

    private var milestone: String {
        guard let last = snapshot.member("last_milestone"), let name = last.text("name") else { return "–" }
        return name + age(last) + (last.text("details").map { ": \($0)" } ?? "")
    }

    var isWaiting: Bool { snapshot.member("waiting_for") != nil }

    func doing(_ status: String) -> String {
        if let wait = snapshot.member("waiting_for") {
            return wait.text("detail") ?? wait.text("kind") ?? wait.plain
        }
        if let tool = snapshot.member("current_tool") {
            guard let name = tool.text("name") ?? tool.text("tool_name") else { return tool.plain }
            return name + age(tool)
        }
        return "–"
    }

    var cost: String {
        let limit = snapshot.amount("max_budget_usd").map { Amount.dollars($0) } ?? "no limit"
        return "\(Amount.dollars(snapshot.amount("cost_usd") ?? 0)) / \(limit)"
    }

    var queue: String {
        guard let position = snapshot.whole("queue_position") else { return "–" }
        let wait = snapshot.whole("estimated_wait_s").map { ", about \(Moment.length(seconds: $0))" } ?? ""
        return "place \(position)\(wait)"
    }

    private var lastEvent: String {
        guard let last = snapshot.member("last_event"), let type = last.text("event_type") else { return "–" }
        return type + (last.whole("seq").map { " #\($0)" } ?? "") + age(last)
    }

    private func age(_ fact: JSONValue) -> String {
        fact.whole("age_s").map { ", \(Moment.length(seconds: $0)) ago" } ?? ""
    }
}

/// A structured error as the reader needs it: what, why, and what to do.
package enum ErrorLines {
    package static func make(_ error: JSONValue?, style: Style) -> [String] {
        guard let error else { return [] }
        let title = error.text("title") ?? error.text("code") ?? "unknown error"
        let code = error.text("code").map { $0 == title ? "" : " (\($0))" } ?? ""
        var lines = ["", style.paint("error:", .red) + " " + Text.visible(title + code)]
        for key in ["description", "remedy"] {
            guard let text = error.text(key) else { continue }
            let prefix = key == "remedy" ? "What to do: " : ""
            lines += Text.visibleLines(prefix + text).map { "       " + $0 }
        }
        if error.member("retryable")?.bool == true {
            lines.append("       The same task may pass when it is submitted again.")
        }
        return lines
    }
}
