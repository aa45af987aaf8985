import Domain
import Postgres

/// What fanout has to know of a task to decide whom to tell, and what to tell them.
package struct NotificationFacts: Sendable {
    package var repo: String
    package var status: String
    package var issueNumber: Int?
    package var description: String?
    package var branch: String
    package var pullRequestURL: String?
    package var pullRequestNumber: Int?
    package var outcome: String?
    package var answer: String?
    package var error: JSONValue?
    package var cost: USD
    package var turns: Int
    /// Seconds since the first RUNNING, to the end where there is one; nil for a task that never ran.
    package var durationSeconds: Int?
    package var credentialRef: String?
    package var channelSource: String
    package var channelMetadata: JSONValue
    package var userEmail: String?
    /// Preferences of the task, of its repository and of its user, in that order.
    package var preferences: [JSONValue]

    fileprivate init(row: Row) throws {
        repo = try row.get("repo", as: String.self)
        status = try row.get("status", as: String.self)
        issueNumber = try row.get("issue_number", as: Int64?.self).map(Int.init)
        description = try row.get("task_description", as: String?.self)
        branch = try row.get("branch_name", as: String.self)
        pullRequestURL = try row.get("pr_url", as: String?.self)
        pullRequestNumber = try row.get("pr_number", as: Int64?.self).map(Int.init)
        outcome = try row.get("outcome", as: String?.self)
        answer = try row.get("answer_text", as: String?.self)
        error = try row.get("error", as: String?.self).map { try JSONText.decode(JSONValue.self, $0) }
        cost = USD(micros: try row.get("cost_micros", as: Int64.self))
        turns = Int(try row.get("turn", as: Int64.self))
        durationSeconds = try row.get("duration_s", as: Int64?.self).map(Int.init)
        credentialRef = try row.get("credential_ref", as: String?.self)
        channelSource = try row.get("channel_source", as: String.self)
        channelMetadata = try row.json("channel_metadata")
        userEmail = try row.get("email", as: String?.self)
        preferences = [try row.json("task_level"), try row.json("repo_level"), try row.json("user_level")]
    }
}

/// One notification to plan.
package struct PlannedNotification: Sendable {
    package var effectID: String
    package var channel: String
    package var target: String
    package var payload: String

    package init(effectID: String, channel: String, target: String, payload: String) {
        self.effectID = effectID
        self.channel = channel
        self.target = target
        self.payload = payload
    }
}

/// Fanout's reads and writes.
package enum NotificationStore {
    /// Asks for the facts of a task as they are now; `facts(of:)` reads the answer.
    package static func facts(_ task: TaskID) -> Query {
        """
        SELECT t.repo, t.status, t.issue_number::bigint, t.task_description, t.branch_name, t.pr_url,
            t.pr_number::bigint, t.outcome, t.answer_text, t.error::text,
            (h.cost_usd * 1000000)::bigint AS cost_micros, h.turn::bigint,
            extract(epoch FROM coalesce(t.completed_at, clock_timestamp()) - t.started_at)::bigint AS duration_s,
            t.settings ->> 'credential_ref' AS credential_ref, t.channel_source, t.channel_metadata::text,
            u.email, t.notifications::text AS task_level, r.notifications::text AS repo_level,
            u.notifications::text AS user_level
        FROM tasks t JOIN task_heads h USING (task_id) JOIN users u ON u.user_id = t.user_id
            JOIN repos r ON r.repo = t.repo
        WHERE t.task_id = \(task.rawValue)
        """
    }

    /// What the statement answered.
    package static func facts(of rows: Rows) throws -> NotificationFacts? {
        try rows.first.map(NotificationFacts.init(row:))
    }

    /// The statements that plan notifications: ledger row, position in the channel's stream and outbox row each. One that
    /// was planned before stays as it is.
    package static func plan(
        _ notifications: [PlannedNotification], of task: TaskID, attempt: Int, eventID: String, seq: Int64,
        type: String
    ) -> [Query] {
        notifications.map { one in
            """
            SELECT plan_notification(\(one.effectID), \(task.rawValue), \(Int32(attempt)), \(one.channel),
                \(one.target), \(eventID), \(seq), \(type), \(one.payload)::jsonb)
            """
        }
    }
}
