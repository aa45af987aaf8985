import Domain
import Postgres

/// How a message stands to what its consumer has already done for that task.
package enum PositionVerdict: Sendable, Hashable {
    /// The next one: do it.
    case next
    /// Done before: drop it.
    case past
    /// Put aside before, and a person asks for it once more: do it without moving the position.
    case again
    /// One before it is missing: park it.
    case ahead(expected: Int64)
}

/// A message that waits in Postgres.
package struct ParkedMessage: Sendable {
    package let taskID: String
    package let seq: Int64
    package let queue: String
    package let message: String
    package let attempts: Int
}

/// What a consumer remembers: positions, parked messages, attempts, dead letters. All of law 2 that is SQL.
package enum ConsumerStore {
    /// Looks without locking: cheap, for messages that are most likely duplicates or ahead. Whatever comes of a task that
    /// was deleted is done.
    package static func verdict(
        _ consumer: String, task: String, seq: Int64, in connection: Connection
    ) throws -> PositionVerdict {
        let row = try connection.query(
            """
            SELECT (SELECT last_seq FROM consumer_positions WHERE consumer = \(consumer) AND task_id = \(task)) AS last_seq,
                EXISTS (SELECT FROM deleted_tasks WHERE task_id = \(task)) AS is_deleted,
                EXISTS (SELECT FROM message_replays WHERE consumer = \(consumer) AND task_id = \(task)
                    AND seq = \(seq)) AS again
            """
        ).only()
        if try row.get("is_deleted", as: Bool.self) { return .past }
        let verdict = verdict(of: seq, after: try row.get("last_seq", as: Int64?.self) ?? 0)
        return try verdict == .past && row.get("again", as: Bool.self) ? .again : verdict
    }

    /// Takes the order to do a message once more, in the transaction of the work itself. False: somebody else took it.
    package static func takeReplay(_ consumer: String, task: String, seq: Int64, in tx: Connection) throws -> Bool {
        try tx.query(
            "DELETE FROM message_replays WHERE consumer = \(consumer) AND task_id = \(task) AND seq = \(seq)"
        ).affected == 1
    }

    package static func verdict(of seq: Int64, after last: Int64) -> PositionVerdict {
        if seq <= last { return .past }
        return seq == last + 1 ? .next : .ahead(expected: last + 1)
    }

    /// Takes the step to `seq` in the transaction of the work itself. False: somebody else took it, so undo the work.
    ///
    /// The row lock makes a woken zombie wait for the living and then find its step taken. Nothing begins for a task that
    /// was deleted.
    package static func advance(_ consumer: String, task: String, to seq: Int64, in tx: Connection) throws -> Bool {
        try tx.query("SELECT advance_position(\(consumer), \(task), \(seq)) AS is_ours").only().get("is_ours")
    }

    /// The same without a trip of its own: travels with the next statement of the transaction, or with COMMIT, which then
    /// throws what `isStepTaken` knows.
    package static func enqueueAdvance(
        _ consumer: String, task: String, to seq: Int64, in tx: Connection
    ) throws {
        try tx.enqueue(step(consumer, task: task, to: seq))
    }

    /// The same as a statement, for a flight.
    package static func step(_ consumer: String, task: String, to seq: Int64) -> Query {
        "SELECT take_step(\(consumer), \(task), \(seq))"
    }

    /// Whether a transaction failed because its step was taken.
    package static func isStepTaken(_ error: PostgresError) -> Bool { error.sqlState == "BG004" }

    /// Keeps a message for later. The first parking of a seq wins; a repeat moves its due time.
    package static func park(
        _ consumer: String, queue: String, task: String, seq: Int64, message: String, attempts: Int, reason: String,
        inSeconds seconds: Double, in connection: Connection
    ) throws {
        try connection.query(
            """
            INSERT INTO parked_messages (consumer, task_id, seq, queue, message, attempts, reason, due_at)
            VALUES (\(consumer), \(task), \(seq), \(queue), \(message)::json, \(attempts), \(reason),
                clock_timestamp() + make_interval(secs => \(seconds)))
            ON CONFLICT (consumer, task_id, seq) DO UPDATE
                SET attempts = greatest(parked_messages.attempts, excluded.attempts), reason = excluded.reason,
                    due_at = excluded.due_at, queue = excluded.queue
            """)
    }

    package static func unpark(_ consumer: String, task: String, through seq: Int64, in connection: Connection) throws {
        try connection.query(
            "DELETE FROM parked_messages WHERE consumer = \(consumer) AND task_id = \(task) AND seq <= \(seq)")
    }

    /// Gives up all that waits here: for consumers whose messages need not be done.
    package static func forgetParked(_ consumer: String, in connection: Connection) throws {
        try connection.query("DELETE FROM parked_messages WHERE consumer = \(consumer)")
    }

    /// Parked messages of `queues` whose turn it is: due, and next in their task, or of a task that was deleted, to be
    /// dropped. In order of the time they were due.
    package static func ready(
        _ consumer: String, queues: [String], limit: Int, in connection: Connection
    ) throws -> [ParkedMessage] {
        try connection.query(
            """
            SELECT m.task_id, m.seq, m.queue, m.message::text, m.attempts FROM parked_messages m
            LEFT JOIN consumer_positions p USING (consumer, task_id)
            WHERE m.consumer = \(consumer) AND m.queue = ANY(\(queues)) AND m.due_at <= clock_timestamp()
                AND (m.seq <= coalesce(p.last_seq, 0) + 1
                    OR EXISTS (SELECT FROM deleted_tasks d WHERE d.task_id = m.task_id))
            ORDER BY m.due_at, m.task_id, m.seq LIMIT \(limit)
            """
        ).map { row in
            ParkedMessage(
                taskID: try row.get("task_id", as: String.self), seq: try row.get("seq", as: Int64.self),
                queue: try row.get("queue", as: String.self), message: try row.get("message", as: String.self),
                attempts: try row.get("attempts", as: Int.self))
        }
    }

    /// Asks for what is missing: parked messages that have waited `afterSeconds` for one that is not there. The missing
    /// message is made again from the truth. Returns how many were asked for.
    ///
    /// In a transaction, because `OutboxFloor` trusts that who takes an id of the outbox has written before.
    package static func repair(
        _ consumer: String, stream: String, queues: [String], afterSeconds: Double, in tx: Connection
    ) throws -> Int {
        let gaps = try tx.query(
            """
            UPDATE parked_messages SET parked_at = clock_timestamp() WHERE (consumer, task_id, seq) IN (
                SELECT consumer, task_id, min(seq) FROM parked_messages m
                WHERE consumer = \(consumer) AND queue = ANY(\(queues))
                    AND parked_at < clock_timestamp() - make_interval(secs => \(afterSeconds))
                    AND NOT EXISTS (SELECT FROM parked_messages e WHERE e.consumer = m.consumer
                        AND e.task_id = m.task_id AND e.seq <= coalesce((SELECT last_seq FROM consumer_positions p
                            WHERE p.consumer = m.consumer AND p.task_id = m.task_id), 0) + 1)
                GROUP BY consumer, task_id LIMIT 100)
            RETURNING task_id, coalesce((SELECT last_seq FROM consumer_positions p
                WHERE p.consumer = parked_messages.consumer AND p.task_id = parked_messages.task_id), 0) + 1 AS missing
            """)
        for row in gaps {
            try republish(
                stream: stream, task: try row.get("task_id", as: String.self),
                seq: try row.get("missing", as: Int64.self), in: tx)
        }
        return gaps.count
    }

    /// Makes the outbox row of one message again from what it tells of. Consumers drop it where it was not missing.
    package static func republish(stream: String, task: String, seq: Int64, in connection: Connection) throws {
        switch stream {
        case "events":
            try connection.query(
                """
                SELECT publish_event(h, e.seq, e.event_id, e.event_type, e.timestamp, e.attempt, e.metadata)
                FROM task_events e JOIN task_heads h USING (task_id) WHERE e.task_id = \(task) AND e.seq = \(seq)
                """)
        case "commands":
            try connection.query(
                """
                SELECT publish_command(h, c.seq, c.message_id, c.command, c.attempt, c.payload)
                FROM task_commands c JOIN task_heads h USING (task_id) WHERE c.task_id = \(task) AND c.seq = \(seq)
                """)
        default:
            try connection.query(
                """
                SELECT publish_notification(effect_id, 1) FROM effects
                WHERE task_id = \(task) AND stream_seq = \(seq)
                    AND 'notifications.' || channel = \(stream)
                """)
        }
    }

    /// Counts a redelivered message before it is handled, so that one that kills its handler is told from its
    /// neighbours.
    package static func countAttempt(_ consumer: String, messageID: String, in connection: Connection) throws -> Int {
        let rows = try connection.query(
            """
            INSERT INTO message_attempts AS m (consumer, message_id, attempts) VALUES (\(consumer), \(messageID), 1)
            ON CONFLICT (consumer, message_id) DO UPDATE SET attempts = m.attempts + 1 RETURNING attempts
            """)
        return try rows.first?.get("attempts", as: Int.self) ?? 1
    }

    /// How often a message was begun since it was first redelivered, by what `countAttempt` kept.
    package static func attempts(_ consumer: String, messageID: String, in connection: Connection) throws -> Int {
        let rows = try connection.query(
            "SELECT attempts FROM message_attempts WHERE consumer = \(consumer) AND message_id = \(messageID)")
        return try rows.first?.get("attempts", as: Int.self) ?? 0
    }

    package static func forgetAttempts(_ consumer: String, messageID: String, in connection: Connection) throws {
        try connection.query(
            "DELETE FROM message_attempts WHERE consumer = \(consumer) AND message_id = \(messageID)")
    }

    /// Puts a message aside for a person. Its position is passed in the same transaction, so its lane goes on.
    package static func deadLetter(
        _ consumer: String, queue: String, task: String?, seq: Int64?, messageID: String?, reason: String,
        body: String, in connection: Connection
    ) throws {
        try connection.query(
            """
            INSERT INTO dead_letters (consumer, queue, task_id, seq, message_id, reason, body)
            VALUES (\(consumer), \(queue), \(task), \(seq), \(messageID), \(reason), \(body))
            """)
    }
}
