import Domain
import Postgres

/// One task as stored. A value: it is as old as the read that made it, `version` says which.
package struct TaskRecord: Sendable {
    package var id: TaskID
    package var userID: UserID
    package var repo: RepoName
    package var issueNumber: Int?
    package var description: String?
    package var workflow: String
    package var status: TaskStatus
    package var version: Int64
    package var attempt: Int
    package var maxAttempts: Int
    package var branchName: String
    package var baseBranch: String?
    package var model: String
    package var maxTurns: Int
    package var maxBudget: USD?
    package var maxDurationSeconds: Int
    /// The repository's settings as they were at submit.
    package var settings: JSONValue
    package var notifications: JSONValue
    package var outcome: String?
    package var pullRequestURL: String?
    package var pullRequestNumber: Int?
    package var headSHA: String?
    package var answerText: String?
    package var error: JSONValue?
    package var cancelRequested: Bool
    package var stepAttempts: Int
    package var traceparent: String
    package var channelSource: String
    /// Seconds of work left on the database's clock; time waiting for people does not count.
    package var remainingSeconds: Int

    /// The columns that `init(row:)` reads, of the table alias `t`.
    package static let columns: Query = """
        t.task_id, t.user_id, t.repo, t.issue_number::bigint, t.task_description, t.workflow, t.status, t.version,
        t.attempt::bigint, t.max_attempts::bigint, t.branch_name, t.base_branch, t.model, t.max_turns::bigint,
        (t.max_budget_usd * 1000000)::bigint AS max_budget_micros, t.max_duration_s::bigint, t.settings::text,
        t.notifications::text, t.outcome, t.pr_url, t.pr_number::bigint, t.head_sha, t.answer_text, t.error::text,
        t.cancel_requested_at IS NOT NULL AS cancel_requested, t.step_attempts::bigint, t.traceparent,
        t.channel_source,
        greatest(0, t.max_duration_s - coalesce(extract(epoch FROM clock_timestamp() - t.started_at - t.waited
            - CASE WHEN t.status = 'AWAITING_APPROVAL' THEN clock_timestamp() - t.status_changed_at ELSE '0' END), 0)
            )::bigint AS remaining_s
        """
}

extension TaskRecord {
    /// Reads `columns`. Throws `StoreError.corrupt` for a value that this build does not know.
    package init(row: Row) throws {
        id = try row.ulid("task_id")
        userID = try row.ulid("user_id")
        guard let repo = RepoName(rawValue: try row.get("repo", as: String.self)) else {
            throw StoreError.corrupt("tasks.repo")
        }
        self.repo = repo
        issueNumber = try row.get("issue_number", as: Int64?.self).map(Int.init)
        description = try row.get("task_description", as: String?.self)
        workflow = try row.get("workflow", as: String.self)
        guard let status = TaskStatus(rawValue: try row.get("status", as: String.self)) else {
            throw StoreError.corrupt("tasks.status")
        }
        self.status = status
        version = try row.get("version", as: Int64.self)
        attempt = Int(try row.get("attempt", as: Int64.self))
        maxAttempts = Int(try row.get("max_attempts", as: Int64.self))
        branchName = try row.get("branch_name", as: String.self)
        baseBranch = try row.get("base_branch", as: String?.self)
        model = try row.get("model", as: String.self)
        maxTurns = Int(try row.get("max_turns", as: Int64.self))
        maxBudget = try row.get("max_budget_micros", as: Int64?.self).map(USD.init(micros:))
        maxDurationSeconds = Int(try row.get("max_duration_s", as: Int64.self))
        settings = try row.json("settings")
        notifications = try row.json("notifications")
        outcome = try row.get("outcome", as: String?.self)
        pullRequestURL = try row.get("pr_url", as: String?.self)
        pullRequestNumber = try row.get("pr_number", as: Int64?.self).map(Int.init)
        headSHA = try row.get("head_sha", as: String?.self)
        answerText = try row.get("answer_text", as: String?.self)
        error = try row.get("error", as: String?.self).map { try JSONText.decode(JSONValue.self, $0) }
        cancelRequested = try row.get("cancel_requested", as: Bool.self)
        stepAttempts = Int(try row.get("step_attempts", as: Int64.self))
        traceparent = try row.get("traceparent", as: String.self)
        channelSource = try row.get("channel_source", as: String.self)
        remainingSeconds = Int(try row.get("remaining_s", as: Int64.self))
    }
}

extension Row {
    /// An id column; throws `StoreError.corrupt` when the text is none.
    package func ulid<Tag>(_ column: String) throws -> ID<Tag> {
        guard let id = ID<Tag>(rawValue: try get(column, as: String.self)) else { throw StoreError.corrupt(column) }
        return id
    }

    /// A json column that was selected as text.
    package func json(_ column: String) throws -> JSONValue {
        try JSONText.decode(JSONValue.self, try get(column, as: String.self))
    }
}
