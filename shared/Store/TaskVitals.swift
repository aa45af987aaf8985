import Domain
import Postgres

/// A task as `bgagent top` shows it: where it stands, and everything around it that can hold it up.
package struct TaskVitals: Sendable {
    /// The sandbox of the present attempt.
    package struct Sandbox: Sendable {
        package let state: String
        package let backend: String
        package let node: String?
        /// Seconds since an adapter claimed it.
        package let ageSeconds: Int?
        /// Seconds until the lease is over; below zero once it is. Nil when there is none.
        package let leaseLeftSeconds: Int?
        /// As the adapter noted it: cpu_percent, cpu_seconds, memory_bytes, pids, at.
        package let usage: JSONValue?
    }

    package struct Event: Sendable {
        package let seq: Int64
        package let type: String
        package let ageSeconds: Int
        /// As JSON text.
        package let metadata: String
    }

    package let task: TaskStatusSnapshot
    package let sandbox: Sandbox?
    /// Seconds since the present tool was called; nil while none runs.
    package let toolAgeSeconds: Int?
    package let inputTokens: Int64
    package let outputTokens: Int64
    package let cacheReadTokens: Int64
    /// What the last five minutes cost.
    package let recentCost: Money
    /// Newest first.
    package let events: [Event]
    /// Notifications by state: planned and sending are `waiting`.
    package let notificationsWaiting: Int
    package let notificationsUnknown: Int
    package let notificationsDead: Int
    /// Messages of the task that are not published yet, and the age of the oldest in seconds.
    package let outboxMessages: Int
    package let outboxAgeSeconds: Double

    private static let shownEvents = 6

    /// Everything in one flight; nil when there is no such task.
    package static func load(_ id: TaskID, in connection: Connection) throws -> TaskVitals? {
        let results = try connection.pipeline([
            TaskQueries.statusQuery(id), sandboxQuery(id), modelQuery(id),
            """
            SELECT seq, event_type, extract(epoch FROM clock_timestamp() - timestamp)::bigint AS age_s,
                metadata::text AS metadata
            FROM task_events WHERE task_id = \(id.rawValue) ORDER BY seq DESC LIMIT \(shownEvents)
            """,
            """
            SELECT extract(epoch FROM clock_timestamp() - timestamp)::bigint AS age_s FROM task_events
            WHERE task_id = \(id.rawValue) AND event_type = 'agent_tool_call' ORDER BY seq DESC LIMIT 1
            """,
            """
            SELECT count(*) FILTER (WHERE state IN ('planned', 'sending')) AS waiting,
                count(*) FILTER (WHERE state = 'unknown') AS unknown, count(*) FILTER (WHERE state = 'dead') AS dead
            FROM effects WHERE task_id = \(id.rawValue) AND kind = 'notification'
            """,
            """
            SELECT count(*) AS messages,
                coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS age_s
            FROM outbox WHERE task_id = \(id.rawValue)
            """,
        ])
        guard let row = results[0].first else { return nil }
        let task = try TaskStatusSnapshot(row: row)
        let (model, effects, outbox) = (try results[2].only(), try results[5].only(), try results[6].only())
        return TaskVitals(
            task: task, sandbox: try results[1].first.map(Sandbox.init(row:)),
            toolAgeSeconds: task.currentTool == nil ? nil : try results[4].first?.get("age_s", as: Int.self),
            inputTokens: try model.get("input", as: Int64.self), outputTokens: try model.get("output", as: Int64.self),
            cacheReadTokens: try model.get("cached", as: Int64.self),
            recentCost: try model.get("recent", as: Money.self),
            events: try results[3].map { row in
                Event(
                    seq: try row.get("seq", as: Int64.self), type: try row.get("event_type", as: String.self),
                    ageSeconds: max(try row.get("age_s", as: Int.self), 0),
                    metadata: try row.get("metadata", as: String.self))
            },
            notificationsWaiting: try effects.get("waiting", as: Int.self),
            notificationsUnknown: try effects.get("unknown", as: Int.self),
            notificationsDead: try effects.get("dead", as: Int.self),
            outboxMessages: try outbox.get("messages", as: Int.self),
            outboxAgeSeconds: try outbox.get("age_s", as: Double.self))
    }

    private static func sandboxQuery(_ id: TaskID) -> Query {
        """
        SELECT s.state, s.backend, s.node, extract(epoch FROM clock_timestamp() - s.claimed_at)::bigint AS age_s,
            CASE WHEN s.state IN ('claimed', 'running')
                THEN extract(epoch FROM s.lease_until - clock_timestamp())::bigint END AS lease_s,
            CASE WHEN s.state IN ('claimed', 'running') THEN s.usage::text END AS usage
        FROM sessions s JOIN tasks t USING (task_id, attempt) WHERE s.task_id = \(id.rawValue)
        """
    }

    private static func modelQuery(_ id: TaskID) -> Query {
        """
        SELECT coalesce(sum((metadata ->> 'input_tokens')::bigint), 0)::bigint AS input,
            coalesce(sum((metadata ->> 'output_tokens')::bigint), 0)::bigint AS output,
            coalesce(sum((metadata ->> 'cache_read_tokens')::bigint), 0)::bigint AS cached,
            coalesce(sum((metadata ->> 'cost_usd')::numeric)
                FILTER (WHERE timestamp > clock_timestamp() - interval '5 minutes'), 0)::numeric(14, 6) AS recent
        FROM task_events WHERE task_id = \(id.rawValue) AND event_type = 'agent_cost_update'
        """
    }
}

extension TaskVitals.Sandbox {
    init(row: Row) throws {
        state = try row.get("state", as: String.self)
        backend = try row.get("backend", as: String.self)
        node = try row.get("node", as: String?.self)
        ageSeconds = try row.get("age_s", as: Int?.self)
        leaseLeftSeconds = try row.get("lease_s", as: Int?.self)
        usage = try row.get("usage", as: String?.self).map { try JSONText.decode(JSONValue.self, $0) }
    }
}
