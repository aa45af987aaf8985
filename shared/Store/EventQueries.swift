import Domain
import Postgres

/// One event as stored.
package struct EventRecord: Sendable {
    package let id: EventID
    package let seq: Int64
    package let type: String
    package let timestamp: Timestamp
    package let attempt: Int
    /// As JSON text.
    package let metadata: String

    static let columns: Query = "event_id, seq, event_type, timestamp, attempt, metadata::text AS metadata"

    init(row: Row) throws {
        id = try row.ulid("event_id")
        seq = try row.get("seq", as: Int64.self)
        type = try row.get("event_type", as: String.self)
        timestamp = try row.get("timestamp", as: Timestamp.self)
        attempt = try row.get("attempt", as: Int.self)
        metadata = try row.get("metadata", as: String.self)
    }
}

/// What all events of a task share, and how far the task has come.
package struct EventSource: Sendable {
    package let taskID: TaskID
    package let userID: UserID
    /// How the one who asked stands to the task.
    package let standing: TaskStanding
    package let repo: String
    package let traceID: String
    package let status: TaskStatus
    /// The newest event's number when it was read.
    package let seq: Int64
}

/// Which events a page shows.
package struct EventFilter: Sendable {
    /// Only what came behind this event.
    package var after: EventID?
    package var type: TaskEventType?
    package var isDescending = false
    package var limit = 50

    package init() {}
}

/// What people read of a task's timeline.
package enum EventQueries {
    /// The task and a page of its events in one flight; the page is at least as new as `source.seq`. Nil: no such task.
    ///
    /// - Parameter asker: who wants to see it; `source.standing` says how they stand to the task.
    package static func page(
        of task: TaskID, for asker: UserID, _ filter: EventFilter, in connection: Connection
    ) throws -> (source: EventSource, events: [EventRecord], hasMore: Bool)? {
        var page: Query = "SELECT \(EventRecord.columns) FROM task_events WHERE task_id = \(task.rawValue)"
        if let after = filter.after { page += " AND event_id > \(after.rawValue)" }
        if let type = filter.type { page += " AND event_type = \(type.rawValue)" }
        page += filter.isDescending ? " ORDER BY event_id DESC" : " ORDER BY event_id"
        page += " LIMIT \(filter.limit + 1)"
        let results = try connection.pipeline([
            """
            SELECT t.user_id, t.repo, split_part(t.traceparent, '-', 2) AS trace_id, t.status, h.seq,
                \(TaskStanding.columns(for: asker))
            FROM tasks t JOIN task_heads h USING (task_id) WHERE t.task_id = \(task.rawValue)
            """,
            page,
        ])
        guard let row = results[0].first else { return nil }
        let source = EventSource(
            taskID: task, userID: try row.ulid("user_id"), standing: try TaskStanding(row: row),
            repo: try row.get("repo", as: String.self),
            traceID: try row.get("trace_id", as: String.self), status: try row.get("status", as: TaskStatus.self),
            seq: try row.get("seq", as: Int64.self))
        let events = try results[1].prefix(filter.limit).map(EventRecord.init(row:))
        return (source, events, results[1].count > filter.limit)
    }

    /// A task's events behind number `seq`, in order.
    package static func events(
        of task: TaskID, behind seq: Int64, limit: Int, in connection: Connection
    ) throws -> [EventRecord] {
        try connection.query(
            """
            SELECT \(EventRecord.columns) FROM task_events WHERE task_id = \(task.rawValue) AND seq > \(seq)
            ORDER BY seq LIMIT \(limit)
            """
        ).map(EventRecord.init(row:))
    }

    /// How far these tasks have come, in one query.
    package static func heads(of tasks: [TaskID], in connection: Connection) throws -> [TaskID: Int64] {
        let rows = try connection.query(
            "SELECT task_id, seq FROM task_heads WHERE task_id = ANY(\(tasks.map(\.rawValue)))")
        var heads: [TaskID: Int64] = [:]
        for row in rows { heads[try row.ulid("task_id")] = try row.get("seq", as: Int64.self) }
        return heads
    }
}
