import Domain
import Postgres
import Store

/// How a task looks from outside.
extension JSONWriter {
    /// What a list shows of a task.
    private mutating func summary(_ task: TaskSnapshot) {
        member("task_id", task.id.rawValue)
        member("status", task.status.rawValue)
        member("repo", task.repo)
        member("issue_number", task.issueNumber)
        member("task_description", task.description)
        member("resolved_workflow") { writer in
            writer.member("id", task.workflow)
            writer.member("version", "1.0.0")
        }
        member("branch_name", task.branchName)
        member("pr_url", task.pullRequestURL)
        member("pr_number", task.pullRequestNumber)
        member("outcome", task.outcome)
        member("user_id", task.userID.rawValue)
        member("channel_source", task.channelSource)
        member("created_at", task.createdAt)
        member("updated_at", task.updatedAt)
    }

    mutating func taskSummary(_ task: TaskSnapshot) {
        object { $0.summary(task) }
    }

    /// Everything about a task.
    mutating func task(_ task: TaskSnapshot, userSlots: Int) {
        object { writer in
            writer.summary(task)
            writer.member("attempt", task.attempt)
            writer.member("max_attempts", task.maxAttempts)
            writer.member("base_branch", task.baseBranch)
            writer.member("model", task.model)
            writer.member("max_turns", task.maxTurns)
            writer.member("max_budget_usd", task.maxBudget)
            writer.member("max_duration_s", task.maxDurationSeconds)
            writer.member("notifications", json: task.notifications)
            writer.member("turns", task.turn)
            writer.member("cost_usd", task.cost)
            writer.member("head_sha", task.headSHA)
            writer.member("answer_text", task.answerText)
            writer.classification(of: task)
            writer.member("cancel_requested_at", task.cancelRequestedAt)
            writer.member("started_at", task.startedAt)
            writer.member("completed_at", task.completedAt)
            writer.member("trace_id", task.traceID)
            writer.member("retry_of", task.retryOf?.rawValue)
            writer.member("allowed_scopes", json: JSONValue.array(task.allowances.map { .string($0) }).text)
            writer.queue(
                task.queuePosition, userSlots: task.userSlots ?? userSlots, isPaused: task.pausedScope != nil)
        }
    }

    /// The snapshot that `bgagent status` prints: the same members, whatever the state.
    mutating func status(_ task: TaskStatusSnapshot, userSlots: Int) {
        let waiting = task.waitingFor
        let since =
            task.completedAt == nil ? task.statusChangedAt : task.startedAt ?? task.createdAt
        object { writer in
            writer.member("task_id", task.id.rawValue)
            writer.member("status", task.status.rawValue)
            writer.member("repo", task.repo)
            writer.member("issue_number", task.issueNumber)
            writer.member("attempt", task.attempt)
            writer.member("elapsed_s", Self.seconds(since, task.completedAt ?? task.readAt))
            writer.member("turn", task.turn)
            writer.member("max_turns", task.maxTurns)
            writer.optional("last_milestone", task.lastMilestone) { writer, name in
                writer.member("name", name)
                writer.member("details", task.lastMilestoneDetails)
                writer.member("age_s", task.lastMilestoneAt.map { Self.seconds($0, task.readAt) })
            }
            writer.member("current_tool", task.currentTool)
            writer.optional("waiting_for", waiting) { writer, waiting in
                writer.member("kind", waiting.kind)
                writer.member("detail", waiting.detail)
            }
            writer.member("cost_usd", task.cost)
            writer.member("max_budget_usd", task.maxBudget)
            writer.queue(
                task.queuePosition, userSlots: task.userSlots ?? userSlots, isPaused: task.pausedScope != nil)
            writer.member("pr_url", task.pullRequestURL)
            writer.member("outcome", task.outcome)
            writer.member("error", json: task.error ?? "null")
            writer.member("trace_bytes", task.traceBytes)
            writer.optional("last_event", task.lastEventType) { writer, type in
                writer.member("event_type", type)
                writer.member("seq", task.lastSeq)
                writer.member("age_s", task.lastEventAt.map { Self.seconds($0, task.readAt) })
            }
        }
    }

    private mutating func queue(_ position: Int?, userSlots: Int, isPaused: Bool) {
        let slots = max(userSlots, 1)
        member("queue_position", position)
        // Ten minutes a task, as many at once as the user has slots. Nobody knows how long a pause takes.
        member("estimated_wait_s", isPaused ? nil : position.map { ($0 + slots - 1) / slots * 600 })
    }

    private mutating func classification(of task: TaskSnapshot) {
        guard var error = task.error?.object else { return member("error_classification", json: "null") }
        let isRetryable = error["retryable"]?.bool ?? false
        let isTheirs = ["auth", "config", "guardrail", "blocked"].contains(error["category"]?.string)
        error["errorClass"] = isRetryable ? "transient" : isTheirs ? "user" : "service"
        member("error_classification", json: JSONValue.object(error).text)
    }

    private mutating func optional<Value>(
        _ name: StaticString, _ value: Value?, _ body: (inout JSONWriter, Value) -> Void
    ) {
        if let value {
            member(name) { body(&$0, value) }
        } else {
            member(name, json: "null")
        }
    }

    private static func seconds(_ from: Timestamp, _ to: Timestamp) -> Int64 {
        max((to.microseconds - from.microseconds) / 1_000_000, 0)
    }
}

extension TaskStatusSnapshot {
    /// What the task waits for, when it does; an agent at work waits for nothing.
    var waitingFor: (kind: String, detail: String)? {
        switch status {
        case .running where cancelRequestedAt != nil, .awaitingApproval where cancelRequestedAt != nil:
            ("cancel", "the agent to save its work and stop")
        case .finalizing where cancelRequestedAt != nil: ("cancel", "its saved work to be looked at")
        case .submitted where pausedScope != nil, .queued where pausedScope != nil: ("pause", pause)
        case .submitted: ("admission", "admission")
        case .queued: ("slot", "a free slot")
        case .hydrating: ("sandbox", "its context and a sandbox")
        case .awaitingApproval: ("approval", "an approval")
        case .parked:
            (wakeKind ?? "wake", wakeDetail ?? "what it was parked for")
        case .running: nil
        case .finalizing: ("finalization", "its branch to be verified")
        case .completed, .failed, .cancelled, .timedOut: nil
        }
    }

    private var pause: String {
        let place = pausedScope == PauseStore.everywhere ? "the platform" : pausedScope ?? repo
        return "an administrator to resume \(place)" + (pauseReason.map { ", which is paused: \($0)" } ?? "")
    }
}
