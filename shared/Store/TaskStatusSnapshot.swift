import Domain
import Postgres

/// Where a task stands at one moment: what people look at again and again, so no more than that is read for it.
package struct TaskStatusSnapshot: Sendable {
    package let id: TaskID
    package let repo: String
    package let issueNumber: Int?
    package let status: TaskStatus
    package let attempt: Int
    package let maxTurns: Int
    package let maxBudget: Money?
    package let outcome: String?
    package let pullRequestURL: String?
    /// As JSON text.
    package let error: String?
    /// What a parked task waits for.
    package let wakeKind: String?
    package let wakeDetail: String?
    package let cancelRequestedAt: Timestamp?
    package let createdAt: Timestamp
    package let statusChangedAt: Timestamp
    package let startedAt: Timestamp?
    package let completedAt: Timestamp?
    package let turn: Int
    package let cost: Money
    package let currentTool: String?
    package let lastMilestone: String?
    /// What was said of it.
    package let lastMilestoneDetails: String?
    package let lastMilestoneAt: Timestamp?
    package let lastEventType: String?
    package let lastEventAt: Timestamp?
    package let lastSeq: Int64
    /// What is stored of the agent's trajectory; nil = nothing.
    package let traceBytes: Int64?
    /// The database's clock when the row was read, which ages are counted from.
    package let readAt: Timestamp
    /// From 1, among the user's waiting tasks; nil when it does not wait.
    package let queuePosition: Int?
    /// The user's own number of tasks at work at once; nil = the platform's.
    package let userSlots: Int?
    /// The pause that keeps it from starting, `PauseRecord.scope`; nil when it does not wait, or nothing is paused.
    package let pausedScope: String?
    /// Why, where whoever paused it has said so.
    package let pauseReason: String?

    /// The columns that `init(row:)` reads, of `tasks t` with `task_heads h`, in its order.
    static let columns: Query =
        """
        t.task_id, t.repo, t.issue_number, t.status, t.attempt, t.max_turns, t.max_budget_usd, t.outcome, t.pr_url,
        t.error::text AS error, t.wake_condition ->> 'kind' AS wake_kind, t.wake_condition ->> 'detail' AS wake_detail,
        t.cancel_requested_at, t.created_at, t.status_changed_at, t.started_at, t.completed_at, h.turn, h.cost_usd,
        h.current_tool, h.last_milestone, h.last_milestone_details, h.last_milestone_at, h.last_event_type, h.last_event_at, h.seq,
        h.trajectory_bytes,
        clock_timestamp() AS read_at,
        CASE WHEN t.status IN ('SUBMITTED', 'QUEUED') THEN (SELECT p.reason FROM pauses p
            WHERE p.scope IN ('*', t.repo) ORDER BY p.scope LIMIT 1) END AS pause_reason,
        """ + " " + TaskSnapshot.queueColumns

    init(row: Row) throws {
        id = try row.ulid("task_id")
        repo = try row.get("repo", as: String.self)
        issueNumber = try row.get("issue_number", as: Int?.self)
        status = try row.get("status", as: TaskStatus.self)
        attempt = try row.get("attempt", as: Int.self)
        maxTurns = try row.get("max_turns", as: Int.self)
        maxBudget = try row.get("max_budget_usd", as: Money?.self)
        outcome = try row.get("outcome", as: String?.self)
        pullRequestURL = try row.get("pr_url", as: String?.self)
        error = try row.get("error", as: String?.self)
        wakeKind = try row.get("wake_kind", as: String?.self)
        wakeDetail = try row.get("wake_detail", as: String?.self)
        cancelRequestedAt = try row.get("cancel_requested_at", as: Timestamp?.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        statusChangedAt = try row.get("status_changed_at", as: Timestamp.self)
        startedAt = try row.get("started_at", as: Timestamp?.self)
        completedAt = try row.get("completed_at", as: Timestamp?.self)
        turn = try row.get("turn", as: Int.self)
        cost = try row.get("cost_usd", as: Money.self)
        currentTool = try row.get("current_tool", as: String?.self)
        lastMilestone = try row.get("last_milestone", as: String?.self)
        lastMilestoneDetails = try row.get("last_milestone_details", as: String?.self)
        lastMilestoneAt = try row.get("last_milestone_at", as: Timestamp?.self)
        lastEventType = try row.get("last_event_type", as: String?.self)
        lastEventAt = try row.get("last_event_at", as: Timestamp?.self)
        lastSeq = try row.get("seq", as: Int64.self)
        traceBytes = try row.get("trajectory_bytes", as: Int64?.self)
        readAt = try row.get("read_at", as: Timestamp.self)
        queuePosition = try row.get("queue_position", as: Int?.self)
        userSlots = try row.get("user_slots", as: Int?.self)
        pausedScope = try row.get("paused_scope", as: String?.self)
        pauseReason = try row.get("pause_reason", as: String?.self)
    }
}
