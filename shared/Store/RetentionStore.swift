import Domain
import Postgres

/// Rows that were deleted, by table.
package struct DeletedRows: Sendable, Hashable {
    package private(set) var tables: [String: Int] = [:]

    package init() {}

    package var total: Int { tables.values.reduce(0, +) }

    package mutating func add(_ count: Int, to table: String) {
        if count > 0 { tables[table, default: 0] += count }
    }

    package mutating func add(_ other: DeletedRows) {
        for (table, count) in other.tables { add(count, to: table) }
    }
}

/// A task that is over, in the order of ends.
package struct EndedTask: Sendable, Hashable {
    package let id: TaskID
    package let endedAt: Timestamp
}

/// Deletes what is old. Each call is one transaction of a bounded number of rows that skips what others hold; a crash
/// leaves the rest to the next. The audit log is never among it.
///
/// Times are the transaction's, which, unlike the clock, an index can be searched for.
package enum RetentionStore {
    /// Everything with a key to its task. First what there may be many of; the head takes the timeline's last rows with it.
    private static let ofTask = [
        "task_events", "task_commands", "effects", "inbox", "task_nudges", "task_asks", "task_questions",
        "task_approvals", "task_allowances", "checkpoints", "git_pushes", "artifacts", "model_calls", "channel_state",
        "sessions",
        "timers", "parked_messages", "consumer_positions", "stream_heads",
    ]

    /// A task that ended `afterSeconds` ago and waits for nothing: everything that was to be told of it is told or given
    /// up, all its messages were published, and no dead letter of it waits for a person.
    private static func isOver(_ afterSeconds: Double) -> Query {
        """
        t.completed_at < now() - make_interval(secs => \(afterSeconds))
            AND t.status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')
            AND NOT EXISTS (SELECT FROM effects e WHERE e.task_id = t.task_id
                AND e.state IN ('planned', 'sending', 'unknown'))
            AND NOT EXISTS (SELECT FROM outbox o WHERE o.task_id = t.task_id)
            AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.task_id = t.task_id AND d.state = 'open')
        """
    }

    /// The next of the tasks that ended `afterSeconds` ago, by the time of their end from behind `after` on. Takes no lock.
    package static func nextTask(
        afterSeconds: Double, after: EndedTask?, in connection: Connection
    ) throws -> EndedTask? {
        var query: Query = "SELECT t.task_id, t.completed_at FROM tasks t WHERE \(isOver(afterSeconds))"
        if let after { query += " AND (t.completed_at, t.task_id) > (\(after.endedAt), \(after.id.rawValue))" }
        query += " ORDER BY t.completed_at, t.task_id LIMIT 1"
        return try connection.query(query).first.map { row in
            EndedTask(id: try row.ulid("task_id"), endedAt: try row.get("completed_at", as: Timestamp.self))
        }
    }

    /// Deletes up to `limit` rows of a task; in the end the task itself. A long task takes several calls.
    ///
    /// - Returns: what was deleted, and whether nothing of the task is left; nil when somebody holds it or it is not over.
    package static func deleteTask(
        _ task: TaskID, afterSeconds: Double, limit: Int, in tx: Connection
    ) throws -> (rows: DeletedRows, isGone: Bool)? {
        let found = try tx.query(
            """
            SELECT 1 FROM tasks t WHERE t.task_id = \(task.rawValue) AND \(isOver(afterSeconds))
            FOR UPDATE OF t SKIP LOCKED
            """)
        guard !found.isEmpty else { return nil }
        var rows = DeletedRows()
        // Before the first row goes: from here on a message of it that comes again is known to be done.
        try tx.query("INSERT INTO deleted_tasks (task_id) VALUES (\(task.rawValue)) ON CONFLICT (task_id) DO NOTHING")
        for table in ofTask {
            let left = limit - rows.total
            guard left > 0 else { return (rows, false) }
            rows.add(try delete(of: task, from: table, limit: left, in: tx), to: table)
        }
        guard rows.total < limit else { return (rows, false) }
        rows.add(try tx.query("DELETE FROM tasks WHERE task_id = \(task.rawValue)").affected, to: "tasks")
        return (rows, true)
    }

    private static func delete(of task: TaskID, from table: String, limit: Int, in tx: Connection) throws -> Int {
        let name: Query = "\(identifier: table)"
        let key: Query = messageID(of: table)
        // How often a message was begun is kept by the message alone.
        let deleted = try tx.query(
            """
            WITH gone AS (DELETE FROM \(name) WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM \(name) WHERE task_id = \(task.rawValue) LIMIT \(limit))) RETURNING \(key) AS message_id),
            forgotten AS (DELETE FROM message_attempts WHERE message_id IN (SELECT message_id FROM gone))
            SELECT count(*) AS count FROM gone
            """)
        return try deleted.only().get("count", as: Int.self)
    }

    private static func messageID(of table: String) -> Query {
        switch table {
        case "task_events": "event_id::text"
        case "task_commands": "message_id::text"
        case "effects": "effect_id"
        default: "NULL::text"
        }
    }

    /// Settled rows of the ledger, of tasks that are over.
    package static func deleteEffects(afterSeconds: Double, limit: Int, in tx: Connection) throws -> Int {
        let deleted = try tx.query(
            """
            WITH gone AS (DELETE FROM effects WHERE effect_id IN (
                SELECT s.effect_id FROM effects s JOIN tasks t USING (task_id)
                WHERE s.state IN ('sent', 'dead', 'superseded')
                    AND s.planned_at < now() - make_interval(secs => \(afterSeconds))
                    AND \(isOver(afterSeconds))
                ORDER BY s.planned_at LIMIT \(limit) FOR UPDATE OF s SKIP LOCKED) RETURNING effect_id),
            forgotten AS (DELETE FROM message_attempts WHERE message_id IN (SELECT effect_id FROM gone))
            SELECT count(*) AS count FROM gone
            """)
        return try deleted.only().get("count", as: Int.self)
    }

    /// What people and agents said to each other, by table with its key.
    package enum Conversation: String, Sendable, CaseIterable {
        case inbox, nudges = "task_nudges", asks = "task_asks", questions = "task_questions"
        case approvals = "task_approvals"

        fileprivate var key: String {
            switch self {
            case .inbox: "item_id"
            case .nudges: "nudge_id"
            case .asks: "ask_id"
            case .questions: "question_id"
            case .approvals: "request_id"
            }
        }
    }

    /// What people and agents said to each other, of tasks that are over.
    package static func delete(
        _ what: Conversation, afterSeconds: Double, limit: Int, in tx: Connection
    ) throws -> Int {
        try deleteByTime(what.rawValue, key: what.key, afterSeconds, limit, in: tx)
    }

    /// By a key that begins with its time.
    private static func deleteByTime(
        _ table: String, key: String, _ afterSeconds: Double, _ limit: Int, in tx: Connection
    ) throws -> Int {
        let (name, id): (Query, Query) = ("\(identifier: table)", "\(identifier: key)")
        return try tx.query(
            """
            DELETE FROM \(name) WHERE \(id) IN (
                SELECT i.\(id) FROM \(name) i JOIN tasks t USING (task_id)
                WHERE i.\(id) < (SELECT ulid_time(now_ms() - \(milliseconds(afterSeconds)))) AND \(isOver(afterSeconds))
                ORDER BY i.\(id) LIMIT \(limit) FOR UPDATE OF i SKIP LOCKED)
            """
        ).affected
    }

    /// Keys of submits, unless the task is still under way: then a repeat must find it.
    package static func deleteIdempotencyKeys(afterSeconds: Double, limit: Int, in tx: Connection) throws -> Int {
        try tx.query(
            """
            DELETE FROM idempotency_keys WHERE (user_id, key) IN (
                SELECT i.user_id, i.key FROM idempotency_keys i LEFT JOIN tasks t USING (task_id)
                WHERE i.created_at < now() - make_interval(secs => \(afterSeconds))
                    AND (t.task_id IS NULL OR t.completed_at IS NOT NULL)
                LIMIT \(limit) FOR UPDATE OF i SKIP LOCKED)
            """
        ).affected
    }

    /// Logins that ended, by themselves or before. API tokens stay: somebody may ask whose it was.
    package static func deleteSessions(afterSeconds: Double, limit: Int, in tx: Connection) throws -> Int {
        try tx.query(
            """
            DELETE FROM api_tokens WHERE token_id IN (
                SELECT token_id FROM api_tokens WHERE kind = 'session'
                    AND expires_at < now() - make_interval(secs => \(afterSeconds))
                ORDER BY expires_at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
            """
        ).affected
    }

    /// Dead letters that a person has dealt with.
    package static func deleteDeadLetters(afterSeconds: Double, limit: Int, in tx: Connection) throws -> Int {
        try tx.query(
            """
            DELETE FROM dead_letters WHERE dead_letter_id IN (
                SELECT dead_letter_id FROM dead_letters WHERE state IN ('replayed', 'dropped')
                    AND dead_letter_id < (SELECT ulid_time(now_ms() - \(milliseconds(afterSeconds))))
                ORDER BY dead_letter_id LIMIT \(limit) FOR UPDATE SKIP LOCKED)
            """
        ).affected
    }

    /// What is remembered of tasks that were deleted.
    package static func forgetDeleted(afterSeconds: Double, limit: Int, in tx: Connection) throws -> Int {
        try tx.query(
            """
            DELETE FROM deleted_tasks WHERE task_id IN (
                SELECT d.task_id FROM deleted_tasks d LEFT JOIN tasks t USING (task_id)
                WHERE d.deleted_at < now() - make_interval(secs => \(afterSeconds)) AND t.task_id IS NULL
                ORDER BY d.deleted_at LIMIT \(limit) FOR UPDATE OF d SKIP LOCKED)
            """
        ).affected
    }

    private static func milliseconds(_ seconds: Double) -> Int64 { Int64(min(seconds, 1e12) * 1000) }
}
