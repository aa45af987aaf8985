import Domain
import Postgres

/// One line on its way into the log of a task.
package struct TaskLogLine: Sendable, Hashable, Codable {
    /// ISO 8601; nil = now, on the database's clock.
    package var at: String?
    package var attempt: Int?
    package var level: String
    package var message: String
    package var fields: [String: JSONValue]

    package init(
        at: String? = nil, attempt: Int? = nil, level: String, message: String, fields: [String: JSONValue] = [:]
    ) {
        self.at = at
        self.attempt = attempt
        self.level = TaskLogLine.levels.contains(level) ? level : "info"
        self.message = message
        self.fields = fields
    }

    /// Lowest first.
    package static let levels = ["debug", "info", "warning", "error"]

    /// This level and those above it; all for a word that is none.
    package static func levels(from level: String) -> [String] {
        Array(levels.drop { $0 != level })
    }
}

/// One line as stored.
package struct TaskLogRecord: Sendable {
    package let seq: Int64
    package let at: Timestamp
    package let service: String
    package let instance: String
    package let attempt: Int?
    package let level: String
    package let message: String
    /// As JSON text.
    package let fields: String

    init(row: Row) throws {
        seq = try row.get("seq", as: Int64.self)
        at = try row.get("at", as: Timestamp.self)
        service = try row.get("service", as: String.self)
        instance = try row.get("instance", as: String.self)
        attempt = try row.get("attempt", as: Int?.self)
        level = try row.get("level", as: String.self)
        message = try row.get("message", as: String.self)
        fields = try row.get("fields", as: String.self)
    }
}

/// Which lines a page shows.
package struct TaskLogFilter: Sendable, Hashable {
    /// Only what came behind this number.
    package var after: Int64 = 0
    package var service: String?
    /// The lowest level shown.
    package var level: String?
    package var limit = 200

    package init() {}
}

/// The log of a task: what the services and its sandboxes wrote. Goes with the task.
package enum TaskLogStore {
    package static let maxLines = 2000
    package static let maxOutputBytes = 5 << 20
    /// The service that the output of sandboxes stands under.
    package static let agent = "agent"

    /// The statement that appends lines of one service; nothing when there is no such task.
    ///
    /// - Parameter outputBytes: how much of a sandbox's output these lines are; 0 for lines of a service.
    package static func append(
        _ lines: [TaskLogLine], to task: TaskID, service: String, instance: String, outputBytes: Int = 0
    ) throws -> Query {
        // The output is bounded by its bytes alone.
        let most = outputBytes > 0 ? Int32.max : Int32(maxLines)
        let text = try JSONText.encode(lines)
        return """
            SELECT append_task_logs(\(task.rawValue), \(service), \(instance), \(most), \(Int64(outputBytes)),
                \(Int64(maxOutputBytes)), \(text)::jsonb) AS taken
            """
    }

    /// A page of lines in order, and how far the log had come at least when it was read.
    package static func page(
        of task: TaskID, _ filter: TaskLogFilter, in connection: Connection
    ) throws -> (lines: [TaskLogRecord], head: Int64, hasMore: Bool) {
        var page: Query = """
            SELECT seq, at, service, instance, attempt, level, message, fields::text AS fields
            FROM task_logs WHERE task_id = \(task.rawValue) AND seq > \(filter.after)
            """
        if let service = filter.service { page += " AND service = \(service)" }
        if let level = filter.level { page += " AND level = ANY(\(TaskLogLine.levels(from: level)))" }
        page += " ORDER BY seq LIMIT \(filter.limit + 1)"
        let results = try connection.pipeline([
            "SELECT coalesce(max(seq), 0)::bigint AS seq FROM task_log_heads WHERE task_id = \(task.rawValue)", page,
        ])
        let head = try results[0].only().get("seq", as: Int64.self)
        let lines = try results[1].prefix(filter.limit).map(TaskLogRecord.init(row:))
        return (lines, head, results[1].count > filter.limit)
    }

    /// How far the logs of these tasks have come, in one query.
    package static func heads(of tasks: [TaskID], in connection: Connection) throws -> [TaskID: Int64] {
        let rows = try connection.query(
            "SELECT task_id, seq FROM task_log_heads WHERE task_id = ANY(\(tasks.map(\.rawValue)))")
        var heads: [TaskID: Int64] = [:]
        for row in rows { heads[try row.ulid("task_id")] = try row.get("seq", as: Int64.self) }
        return heads
    }

    /// Where the task stands: what has ended writes no more. Nil when there is none.
    package static func status(of task: TaskID, in connection: Connection) throws -> TaskStatus? {
        try connection.query("SELECT status FROM tasks WHERE task_id = \(task.rawValue)").first.map {
            try $0.get("status", as: TaskStatus.self)
        }
    }
}

/// The output of a sandbox on its way into the log.
package enum OutputStore {
    /// How far it was taken, and whether its task may have more; nil when there is no such attempt.
    package static func position(
        of task: TaskID, attempt: Int, in connection: Connection
    ) throws -> (offset: Int, isFull: Bool)? {
        try connection.query(
            """
            SELECT s.output_offset, coalesce((h.lines ->> \(TaskLogStore.agent)::text)::int < 0, false) AS is_full
            FROM sessions s LEFT JOIN task_log_heads h USING (task_id)
            WHERE s.task_id = \(task.rawValue) AND s.attempt = \(attempt)
            """
        ).first.map { (Int(try $0.get("output_offset", as: Int64.self)), try $0.get("is_full", as: Bool.self)) }
    }

    /// Takes lines and moves the position from `offset` on, in one transaction: a crash repeats nothing and skips
    /// nothing. False when somebody else has moved it.
    package static func take(
        _ lines: [TaskLogLine], of task: TaskID, attempt: Int, node: String, from offset: Int, bytes: Int,
        in tx: Connection
    ) throws -> Bool {
        // The log is no truth: a commit that a crash of the database forgets is forgotten whole, position included.
        try tx.query("SET LOCAL synchronous_commit = off")
        let moved = try tx.query(
            """
            UPDATE sessions SET output_offset = \(Int64(offset + bytes))
            WHERE task_id = \(task.rawValue) AND attempt = \(attempt) AND output_offset = \(Int64(offset))
            """)
        guard moved.affected == 1 else { return false }
        try tx.query(
            try TaskLogStore.append(
                lines, to: task, service: TaskLogStore.agent, instance: node, outputBytes: bytes))
        return true
    }

    /// Notes what sandboxes use, for people to see.
    package static func note(
        _ usage: [(task: TaskID, attempt: Int, usage: JSONValue)], in connection: Connection
    ) throws {
        try connection.pipeline(
            usage.map { one in
                """
                UPDATE sessions SET usage = \(one.usage.text)::jsonb
                    || jsonb_build_object('at', iso(clock_timestamp()))
                WHERE task_id = \(one.task.rawValue) AND attempt = \(one.attempt) AND state IN ('claimed', 'running')
                """
            })
    }
}
