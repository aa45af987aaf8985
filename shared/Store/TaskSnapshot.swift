import Domain
import Postgres

/// A task at one moment: what it is, what became of it and what it cost. Where it stands: `TaskStatusSnapshot`.
package struct TaskSnapshot: Sendable {
    package let id: TaskID
    package let userID: UserID
    package let repo: String
    package let issueNumber: Int?
    package let description: String?
    package let workflow: String
    package let channelSource: String
    package let status: TaskStatus
    package let attempt: Int
    package let maxAttempts: Int
    package let branchName: String
    package let baseBranch: String?
    package let model: String
    package let maxTurns: Int
    package let maxBudget: Money?
    package let maxDurationSeconds: Int
    /// As JSON text.
    package let notifications: String
    package let outcome: String?
    package let pullRequestURL: String?
    package let pullRequestNumber: Int?
    package let headSHA: String?
    package let answerText: String?
    package let error: JSONValue?
    package let cancelRequestedAt: Timestamp?
    package let traceID: String
    package let createdAt: Timestamp
    package let updatedAt: Timestamp
    package let startedAt: Timestamp?
    package let completedAt: Timestamp?
    package let turn: Int
    package let cost: Money
    /// From 1, among the user's waiting tasks; nil when it does not wait.
    package let queuePosition: Int?
    /// The user's own number of tasks at work at once; nil = the platform's.
    package let userSlots: Int?
    /// The pause that keeps it from starting, `PauseRecord.scope`; nil when it does not wait, or nothing is paused.
    package let pausedScope: String?
    /// The task whose work it does once more.
    package let retryOf: TaskID?
    /// What its agent may do without asking, as far as it was read.
    package let allowances: [String]

    /// The columns that `init(row:)` reads, of `tasks t` with `task_heads h`.
    static let columns: Query = """
        t.task_id, t.user_id, t.repo, t.issue_number, t.task_description, t.workflow, t.channel_source, t.status,
        t.attempt, t.max_attempts, t.branch_name, t.base_branch, t.model, t.max_turns, t.max_budget_usd,
        t.max_duration_s, t.notifications::text AS notifications, t.outcome, t.pr_url, t.pr_number, t.head_sha,
        t.answer_text, t.error, t.cancel_requested_at, split_part(t.traceparent, '-', 2) AS trace_id,
        t.created_at, t.updated_at, t.started_at, t.completed_at, t.retry_of, h.turn, h.cost_usd
        """

    /// The place in the queue and what bounds the user's share, which only a look at one task pays for.
    static let queueColumns: Query = """
        CASE WHEN t.status IN ('SUBMITTED', 'QUEUED') THEN (SELECT count(*) FROM tasks w
            WHERE w.user_id = t.user_id AND w.status IN ('SUBMITTED', 'QUEUED')
                AND (w.created_at, w.task_id) <= (t.created_at, t.task_id)) END AS queue_position,
        (SELECT u.max_concurrent FROM users u WHERE u.user_id = t.user_id) AS user_slots,
        CASE WHEN t.status IN ('SUBMITTED', 'QUEUED') THEN (SELECT min(p.scope) FROM pauses p
            WHERE p.scope IN ('*', t.repo)) END AS paused_scope
        """

    /// What only a look at one task reads.
    static let detailColumns: Query =
        "ARRAY(SELECT a.scope FROM task_allowances a WHERE a.task_id = t.task_id ORDER BY a.allowed_at, a.scope) AS allowances"

    /// - Parameter isWhole: whether `queueColumns` and `detailColumns` were read too.
    init(row: Row, isWhole: Bool) throws {
        id = try row.ulid("task_id")
        userID = try row.ulid("user_id")
        repo = try row.get("repo", as: String.self)
        issueNumber = try row.get("issue_number", as: Int?.self)
        description = try row.get("task_description", as: String?.self)
        workflow = try row.get("workflow", as: String.self)
        channelSource = try row.get("channel_source", as: String.self)
        status = try row.get("status", as: TaskStatus.self)
        attempt = try row.get("attempt", as: Int.self)
        maxAttempts = try row.get("max_attempts", as: Int.self)
        branchName = try row.get("branch_name", as: String.self)
        baseBranch = try row.get("base_branch", as: String?.self)
        model = try row.get("model", as: String.self)
        maxTurns = try row.get("max_turns", as: Int.self)
        maxBudget = try row.get("max_budget_usd", as: Money?.self)
        maxDurationSeconds = try row.get("max_duration_s", as: Int.self)
        notifications = try row.get("notifications", as: String.self)
        outcome = try row.get("outcome", as: String?.self)
        pullRequestURL = try row.get("pr_url", as: String?.self)
        pullRequestNumber = try row.get("pr_number", as: Int?.self)
        headSHA = try row.get("head_sha", as: String?.self)
        answerText = try row.get("answer_text", as: String?.self)
        error = try row.get("error", as: JSONValue?.self)
        cancelRequestedAt = try row.get("cancel_requested_at", as: Timestamp?.self)
        traceID = try row.get("trace_id", as: String.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        updatedAt = try row.get("updated_at", as: Timestamp.self)
        startedAt = try row.get("started_at", as: Timestamp?.self)
        completedAt = try row.get("completed_at", as: Timestamp?.self)
        turn = try row.get("turn", as: Int.self)
        cost = try row.get("cost_usd", as: Money.self)
        retryOf = try row.get("retry_of", as: String?.self).flatMap(TaskID.init(rawValue:))
        queuePosition = isWhole ? try row.get("queue_position", as: Int?.self) : nil
        userSlots = isWhole ? try row.get("user_slots", as: Int?.self) : nil
        pausedScope = isWhole ? try row.get("paused_scope", as: String?.self) : nil
        allowances = isWhole ? try row.get("allowances", as: [String].self) : []
    }
}

extension TaskSnapshot {
    /// A task that was submitted just now, known without reading it again.
    ///
    /// - Parameters:
    ///   - waiting: how many of the user's tasks waited before it; nil when they were not counted.
    ///   - createdAt: as the database gave it.
    init(submitted task: NewTask, waiting: Int?, userSlots: Int?, createdAt: Timestamp) {
        id = task.id
        userID = task.userID
        repo = task.repo.rawValue
        issueNumber = task.issueNumber
        description = task.description
        workflow = task.workflow
        channelSource = task.channelSource
        status = .submitted
        attempt = 1
        maxAttempts = task.maxAttempts
        branchName = task.branchName
        baseBranch = task.baseBranch
        model = task.model
        maxTurns = task.maxTurns
        maxBudget = task.maxBudget
        maxDurationSeconds = task.maxDurationSeconds
        notifications = task.notifications.text
        outcome = nil
        pullRequestURL = nil
        pullRequestNumber = nil
        headSHA = nil
        answerText = nil
        error = nil
        cancelRequestedAt = nil
        let parts = task.traceparent.split(separator: "-")
        traceID = parts.count > 1 ? String(parts[1]) : ""
        self.createdAt = createdAt
        updatedAt = createdAt
        startedAt = nil
        completedAt = nil
        turn = 0
        cost = Money(micros: 0)
        queuePosition = waiting.map { $0 + 1 }
        self.userSlots = userSlots
        pausedScope = nil
        retryOf = task.retryOf
        allowances = task.allowances
    }
}

/// Where a page of the newest tasks goes on: behind this one.
package struct TaskCursor: Sendable, Hashable {
    package let createdAt: Timestamp
    package let id: TaskID

    package init(createdAt: Timestamp, id: TaskID) {
        self.createdAt = createdAt
        self.id = id
    }
}

/// Which tasks a page shows.
package struct TaskFilter: Sendable {
    /// Whose view it is: their own tasks in open repositories, and all of those that they have a grant on. Nil =
    /// everybody's.
    package var viewer: UserID?
    /// Empty = all.
    package var statuses: [TaskStatus] = []
    package var repo: RepoName?
    package var after: TaskCursor?
    package var limit = 20

    package init() {}
}

/// What people read of tasks.
package enum TaskQueries {
    package static func snapshot(_ id: TaskID, in connection: Connection) throws -> TaskSnapshot? {
        try connection.query(snapshotQuery(id)).first.map { try TaskSnapshot(row: $0, isWhole: true) }
    }

    /// A task, and how `asker` stands to it.
    package static func snapshot(
        _ id: TaskID, for asker: UserID, in connection: Connection
    ) throws -> (task: TaskSnapshot, standing: TaskStanding)? {
        try connection.query(snapshotQuery(id, extra: ", " + TaskStanding.columns(for: asker))).first.map { row in
            (try TaskSnapshot(row: row, isWhole: true), try TaskStanding(row: row))
        }
    }

    /// Where a task stands, and how `asker` stands to it.
    package static func status(_ id: TaskID, for asker: UserID) -> Query {
        query(TaskStatusSnapshot.columns + ", " + TaskStanding.columns(for: asker), of: id)
    }

    /// What the statement answered; nil when there is no such task.
    package static func status(of rows: Rows) throws -> (task: TaskStatusSnapshot, standing: TaskStanding)? {
        try rows.first.map { row in (try TaskStatusSnapshot(row: row), try TaskStanding(row: row)) }
    }

    static func statusQuery(_ id: TaskID) -> Query { query(TaskStatusSnapshot.columns, of: id) }

    private static func snapshotQuery(_ id: TaskID, extra: Query = "") -> Query {
        query(
            TaskSnapshot.columns + ", " + TaskSnapshot.queueColumns + ", " + TaskSnapshot.detailColumns + extra, of: id)
    }

    private static func query(_ columns: Query, of id: TaskID) -> Query {
        "SELECT " + columns + " FROM tasks t JOIN task_heads h USING (task_id) WHERE t.task_id = \(id.rawValue)"
    }

    /// A page of tasks, newest first, and whether there are more. What is submitted meanwhile stands before the first
    /// page, so paging repeats and skips nothing.
    package static func list(
        _ filter: TaskFilter, in connection: Connection
    ) throws -> (tasks: [TaskSnapshot], hasMore: Bool) {
        var conditions: [Query] = []
        if !filter.statuses.isEmpty { conditions.append("t.status = ANY(\(filter.statuses.map(\.rawValue)))") }
        if let repo = filter.repo { conditions.append("t.repo = \(repo.rawValue)") }
        if let after = filter.after {
            conditions.append("(t.created_at, t.task_id) < (\(after.createdAt), \(after.id.rawValue))")
        }
        if let viewer = filter.viewer {
            conditions = ["t.task_id IN (" + visible(to: viewer, conditions, limit: filter.limit + 1) + ")"]
        }
        var query: Query = "SELECT " + TaskSnapshot.columns + " FROM tasks t JOIN task_heads h USING (task_id)"
        if !conditions.isEmpty { query += " WHERE " + Query.joined(conditions, by: " AND ") }
        query += " ORDER BY t.created_at DESC, t.task_id DESC LIMIT \(filter.limit + 1)"
        let rows = try connection.query(query)
        let tasks = try rows.prefix(filter.limit).map { try TaskSnapshot(row: $0, isWhole: false) }
        return (tasks, rows.count > filter.limit)
    }

    /// The newest of what somebody may see, as ids: one walk along an index for their own tasks and one for each of their
    /// grants, none of them longer than a page.
    private static func visible(to viewer: UserID, _ conditions: [Query], limit: Int) -> Query {
        let narrowed = conditions.isEmpty ? "" : " AND " + Query.joined(conditions, by: " AND ")
        let newest: Query = " ORDER BY t.created_at DESC, t.task_id DESC LIMIT \(limit)"
        let own: Query =
            "SELECT t.task_id FROM tasks t JOIN repos r ON r.repo = t.repo AND r.access = 'open' WHERE t.user_id = "
            + "\(viewer.rawValue)" + narrowed + newest
        let granted: Query =
            "SELECT o.task_id FROM repo_grants g CROSS JOIN LATERAL (SELECT t.task_id FROM tasks t WHERE t.repo = g.repo"
            + narrowed + newest + ") o WHERE g.user_id = \(viewer.rawValue)"
        return "(" + own + ") UNION (" + granted + ")"
    }
}
