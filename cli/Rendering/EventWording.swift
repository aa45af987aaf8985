import Domain

/// The words for an event. Reads its metadata leniently, and always has something to say.
package struct EventWording: Sendable {
    private let metadata: JSONValue

    package init(metadata: JSONValue) {
        self.metadata = metadata
    }

    /// Whether a tool's result was an error.
    package var isError: Bool { metadata.member("is_error")?.bool ?? false }

    package func text(_ type: TaskEventType) -> String {
        switch type {
        case .taskCreated, .admissionQueued, .admissionRejected, .preflightFailed, .hydrationStarted,
            .hydrationCompleted, .guardrailBlocked, .sessionStarted, .taskParked, .taskResumed, .attemptLost,
            .cancelRequested, .checkpointSaved:
            platform(type)
        case .agentTurn, .agentToolCall, .agentToolResult, .agentMilestone, .agentCostUpdate, .agentError,
            .agentBlocked, .budgetWarning, .budgetExhausted:
            agent(type)
        case .nudgeAccepted, .nudgeDelivered, .nudgeAcknowledged, .nudgeWithdrawn, .nudgeExpired, .statusResponse,
            .questionAsked, .questionAnswered, .approvalRequired, .approvalDecided:
            dialogue(type)
        case .prCreated, .taskCompleted, .taskFailed, .taskCancelled, .taskTimedOut, .taskStranded, .outcomeChanged:
            end(type)
        }
    }

    /// An event type of a newer gateway: its name and what it holds.
    package func unknown(_ name: String) -> String {
        let fields = (metadata.object ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.plain)" }
        return ([name] + fields).joined(separator: "  ")
    }

    // MARK: - Groups

    private func platform(_ type: TaskEventType) -> String {
        switch type {
        case .taskCreated:
            "submitted" + part(" for ", repo)
        case .admissionQueued: "queued" + part(": ", reason)
        case .admissionRejected: "not admitted" + part(": ", reason)
        case .preflightFailed:
            "checks before the start failed" + part(": ", first("reason", "code", "title"))
                + part(", ", first("detail", "description"))
        case .hydrationStarted: "gathering context"
        case .hydrationCompleted:
            "context ready" + part(", about ", metadata.whole("token_estimate").map { "\($0) tokens" })
        case .guardrailBlocked: "stopped by a guardrail" + part(": ", reason)
        case .sessionStarted: "agent started" + part(", attempt ", metadata.whole("attempt").map(String.init))
        case .taskParked: "parked" + part(": ", reason)
        case .taskResumed: "resumed" + part(": ", reason)
        case .attemptLost:
            "attempt" + part(" ", metadata.whole("attempt").map(String.init)) + " lost" + part(": ", reason)
        case .cancelRequested: "cancel requested" + part(" by ", first("requested_by", "cancelled_by"))
        default: "checkpoint saved" + part(" at turn ", metadata.whole("turn").map(String.init))
        }
    }

    private func agent(_ type: TaskEventType) -> String {
        switch type {
        case .agentTurn:
            "turn" + part(" ", metadata.whole("turn").map(String.init))
                + part("  ", first("text_preview", "thinking_preview"))
        case .agentToolCall: (first("tool_name") ?? "tool") + part("  ", first("tool_input_preview"))
        case .agentToolResult:
            (first("tool_name") ?? "tool") + (isError ? " failed" : "") + part("  ", first("content_preview"))
        case .agentMilestone:
            (first("milestone") ?? "milestone") + part("  ", first("details", "detail"))
        case .agentCostUpdate:
            Amount.dollars(metadata.amount("total_cost_usd") ?? metadata.amount("cost_usd")) + " so far"
                + part("  ", tokens)
        case .agentError:
            (first("error_type", "code") ?? "agent error")
                + part(": ", first("message_preview", "message", "description"))
        case .agentBlocked:
            "blocked" + part(" [", first("kind"), "]") + part(": ", first("detail"))
                + part(" (", first("resource"), ")") + part("  ", first("remediation_hint"))
        case .budgetWarning: "budget warning" + spent
        default: "budget spent" + spent
        }
    }

    private func dialogue(_ type: TaskEventType) -> String {
        switch type {
        case .nudgeAccepted: "nudge taken" + part(" from ", first("from")) + part(" [", first("mode"), "]")
        case .nudgeDelivered:
            "nudge is before the model" + part(", turn ", metadata.whole("turn").map(String.init))
        case .nudgeAcknowledged: "nudge with the agent"
        case .nudgeWithdrawn: "nudge withdrawn" + part(" by ", first("withdrawn_by"))
        case .nudgeExpired: "nudge came too late"
        case .statusResponse: "the agent says" + part(": ", first("content", "answer", "text", "message"))
        case .questionAsked: "the agent asks" + part(": ", first("question", "text", "message"))
        case .questionAnswered:
            metadata.text("state") == "expired"
                ? "nobody answered the agent in time" : "answered" + part(" by ", first("answered_by"))
        case .approvalRequired:
            "needs approval" + part(": ", first("summary", "reason", "rule_id")) + part("  ", first("tool_name"))
                + part("  ", first("tool_input_preview", "input_preview"))
        default:
            (first("status")?.lowercased() ?? "decided") + part(" by ", first("decided_by"))
                + part(": ", first("reason", "scope"))
        }
    }

    private func end(_ type: TaskEventType) -> String {
        switch type {
        case .prCreated:
            (metadata.member("draft")?.bool == true ? "draft pull request" : "pull request")
                + part("  ", first("pr_url", "url"))
        case .taskCompleted: "completed" + part(", ", plainOutcome)
        case .taskFailed: "failed" + part(": ", failure)
        case .taskCancelled: "cancelled" + part(" by ", first("cancelled_by"))
        case .taskTimedOut: "out of time" + part(": ", failure)
        case .taskStranded: "stranded" + part(": ", failure)
        default: "outcome is now " + (first("outcome", "to") ?? "another")
        }
    }

    // MARK: - Pieces

    /// The first of these members that has something to say.
    private func first(_ names: String...) -> String? {
        for name in names {
            guard let value = metadata.member(name) else { continue }
            if value.string?.isEmpty == true { continue }
            return value.plain
        }
        return nil
    }

    private func part(_ before: String, _ text: String?, _ after: String = "") -> String {
        text.map { before + $0 + after } ?? ""
    }

    private var reason: String? { first("reason", "detail", "message", "description") }

    private var repo: String? {
        first("repo").map { $0 + part(" #", metadata.whole("issue_number").map(String.init)) }
    }

    private var tokens: String? {
        guard let read = metadata.whole("input_tokens"), let written = metadata.whole("output_tokens") else {
            return nil
        }
        return "\(read) tokens in, \(written) out"
    }

    private var spent: String {
        let limit = metadata.amount("max_budget_usd").map { " of " + Amount.dollars($0) } ?? ""
        return metadata.amount("cost_usd").map { ": " + Amount.dollars($0) + limit } ?? part(": ", reason)
    }

    private var plainOutcome: String? {
        first("outcome").flatMap { $0 == "completed" ? nil : $0 }
    }

    private var failure: String? {
        let error = metadata.member("error") ?? metadata.member("error_classification")
        return error?.text("title") ?? first("title", "reason", "code", "outcome", "error_message")
    }
}
