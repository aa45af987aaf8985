import Domain

/// A notification in plain words, the same on every channel: what happened, the particulars, what to do now. Pure.
///
/// Nothing here is escaped: that is the channel's, which knows what its text means.
package struct NotificationText: Sendable, Hashable {
    /// What happened, in a few words.
    package let title: String
    /// More about it, in the agent's or the platform's own words; may be long and hold anything.
    package let detail: String?
    /// What a person can do about it.
    package let remedy: String?
    /// Label and value, in the order to show them.
    package let facts: [(label: String, value: String)]
    /// The pull request, where there is one.
    package let link: String?
    /// The command that shows more.
    package let command: String
    /// What the task is called.
    package let task: String

    package static func == (left: NotificationText, right: NotificationText) -> Bool {
        left.title == right.title && left.detail == right.detail && left.remedy == right.remedy
            && left.facts.elementsEqual(right.facts, by: ==) && left.link == right.link
            && left.command == right.command && left.task == right.task
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(title)
        hasher.combine(command)
    }

    package init(_ notification: TaskNotification) {
        let (task, event) = (notification.task, notification.event)
        let error = event.metadata["error"] ?? task.error
        title = Self.title(notification, error)
        detail = Self.detail(notification, error)
        remedy = Self.tellsFailure(notification) ? error?["remedy"]?.string : event.metadata["remediation_hint"]?.string
        link = event.metadata["pr_url"]?.string ?? task.pullRequestURL
        command = "bgagent status \(task.id)"
        self.task = task.title ?? task.issue.map { "issue #\($0)" } ?? task.id
        facts = Self.facts(notification)
    }

    private static func tellsFailure(_ notification: TaskNotification) -> Bool {
        notification.type == .taskFailed || notification.type == .taskStranded
    }

    private static func title(_ notification: TaskNotification, _ error: JSONValue?) -> String {
        let metadata = notification.event.metadata
        let reason = error?["title"]?.string
        switch notification.type {
        case .taskCompleted:
            let outcome = metadata["outcome"]?.string ?? notification.task.outcome
            return outcome == "no_change" ? "Finished without a change" : "Finished: the pull request is ready"
        case .taskFailed: return reason.map { "Failed: \($0)" } ?? "Failed"
        case .taskStranded: return reason.map { "Given up: \($0)" } ?? "Given up: nothing was heard of it"
        case .taskCancelled: return "Cancelled"
        case .taskTimedOut: return "Its time is up: what was done is pushed"
        case .prCreated: return metadata["draft"]?.bool == true ? "Draft pull request opened" : "Pull request opened"
        case .agentError: return "The agent met an error"
        case .agentBlocked: return "The agent is blocked"
        case .approvalRequired: return "Your approval is needed"
        case .questionAsked: return "The agent asks a question"
        case .budgetWarning: return "Most of the budget is spent"
        case .budgetExhausted: return "The budget is spent"
        case .statusResponse: return "Status"
        case .agentMilestone: return "Progress"
        case .taskCreated: return "Task accepted"
        case .sessionStarted: return "The agent has started"
        default: return sentence(notification.event.type)
        }
    }

    /// `attempt_lost` → "Attempt lost".
    private static func sentence(_ type: String) -> String {
        let words = type.split(separator: "_").joined(separator: " ")
        return words.prefix(1).uppercased() + words.dropFirst()
    }

    private static func detail(_ notification: TaskNotification, _ error: JSONValue?) -> String? {
        let metadata = notification.event.metadata
        let text: String? =
            switch notification.type {
            case .taskFailed, .taskStranded: error?["description"]?.string
            case .taskCompleted where notification.task.pullRequestURL == nil: notification.task.answer
            case .agentError: metadata["message_preview"]?.string ?? metadata["error_type"]?.string
            case .agentBlocked: metadata["detail"]?.string
            case .approvalRequired: metadata["summary"]?.string ?? metadata["tool_input_preview"]?.string
            case .questionAsked: metadata["question"]?.string
            case .statusResponse: metadata["content"]?.string
            case .agentMilestone: metadata["details"]?.string
            default: nil
            }
        guard let text, text.contains(where: { !$0.isWhitespace }) else { return nil }
        return text.count <= 2_000 ? text : text.prefix(1_999) + "…"
    }

    private static func facts(_ notification: TaskNotification) -> [(label: String, value: String)] {
        let task = notification.task
        var facts: [(label: String, value: String)] = []
        if task.costMicros > 0 { facts.append(("Cost", Amounts.money(USD(micros: task.costMicros)))) }
        if let seconds = task.durationSeconds { facts.append(("Duration", Amounts.time(seconds: seconds))) }
        if task.turns > 0 { facts.append(("Turns", "\(task.turns)")) }
        return facts
    }
}

/// Amounts as people read them.
package enum Amounts {
    /// Dollars and cents; below a cent with what it takes to tell it from nothing.
    package static func money(_ amount: USD) -> String {
        if amount.micros > 0 && amount.micros < 5_000 { return "< $0.01" }
        let cents = (amount.micros + 5_000) / 10_000
        return "$\(cents / 100).\(cents % 100 < 10 ? "0" : "")\(cents % 100)"
    }

    /// `42 s`, `3 min 12 s`, `2 h 5 min`.
    package static func time(seconds: Int) -> String {
        let seconds = max(0, seconds)
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
        return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    }
}
