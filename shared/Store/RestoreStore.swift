import Domain
import Postgres

/// Makes a database that was restored from a backup one that can be gone on from.
///
/// Between backup and restore the world went on: agents pushed, messages were sent, queues filled. None of it is known
/// here, so nothing that was under way is taken for granted.
package enum RestoreStore {
    /// How far the numbers of attempts jump: further than any task came in the time that was lost.
    package static let attemptJump = 1000

    /// What was changed.
    package struct Summary: Sendable, Equatable {
        /// Attempts that were under way and were given up.
        package var attempts = 0
        /// Tasks whose next attempt has a new number.
        package var renumbered = 0
        /// Sends that have to be looked up before they are made.
        package var effects = 0
        /// Messages that were made again because their consumer had not taken them.
        package var messages = 0
    }

    /// Services that are connected to this database, by name.
    package static func connectedServices(in connection: Connection) throws -> [String] {
        try connection.query(
            """
            SELECT DISTINCT application_name AS name FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'bgagent-%'
                AND application_name <> 'bgagent-migrate' ORDER BY 1
            """
        ).map { try $0.get("name", as: String.self) }
    }

    /// The channels whose queues have to be emptied.
    package static func channels(in connection: Connection) throws -> [String] {
        try connection.query("SELECT name FROM channels ORDER BY name").map { try $0.get("name", as: String.self) }
    }

    /// Does all of it. The queues must be empty and no service may run; done again it does no harm.
    package static func goOn(in tx: Connection) throws -> Summary {
        var summary = Summary()
        let open = try tx.query("SELECT task_id FROM tasks WHERE NOT is_final(status) ORDER BY task_id")
        for row in open {
            let id: TaskID = try row.ulid("task_id")
            guard let task = try TaskStore.lock(id, in: tx) else { continue }
            // Its agent had reported before the backup: what it pushed is verified at the remote anyway.
            if task.status == .finalizing { continue }
            try renumber(id, in: tx)
            summary.renumbered += 1
            if task.status.holdsSlot {
                try giveUp(id, attempt: task.attempt, in: tx)
                summary.attempts += 1
            }
        }
        summary.effects = try tx.query(
            """
            UPDATE effects SET state = 'unknown', claim_token = NULL, claim_until = NULL,
                next_at = clock_timestamp(), last_error = 'restored from a backup'
            WHERE state IN ('planned', 'sending', 'unknown')
            """
        ).affected
        summary.messages = try remakeMessages(in: tx)
        try tx.query(
            """
            INSERT INTO audit_log (action, subject, detail) VALUES ('restored', 'database',
                jsonb_build_object('attempts', \(summary.attempts)::int, 'effects', \(summary.effects)::int,
                    'messages', \(summary.messages)::int))
            """)
        return summary
    }

    /// An agent of the lost time may still run under the next numbers; what it says must not count. Attempts that are
    /// left stay as many as they were.
    private static func renumber(_ id: TaskID, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE tasks SET attempt = attempt + \(Int32(attemptJump)),
                max_attempts = max_attempts + \(Int32(attemptJump))
            WHERE task_id = \(id.rawValue)
            """)
        try ApprovalStore.void(id, in: tx)
        try QuestionStore.void(id, in: tx)
    }

    /// Back into the queue, or to its end where a cancel was under way.
    private static func giveUp(_ id: TaskID, attempt: Int, in tx: Connection) throws {
        guard let task = try TaskStore.load(id, in: tx) else { return }
        try tx.query("DELETE FROM timers WHERE task_id = \(id.rawValue)")
        try TaskLog.append(
            .attemptLost, to: id, attempt: attempt,
            [
                "attempt": JSONValue(attempt), "reason": "the database was restored from a backup",
                "attempts_left": JSONValue(!task.cancelRequested),
            ],
            in: tx)
        try TaskStore.move(task, on: task.cancelRequested ? .cancelled : .attemptLost, in: tx)
    }

    /// What had been published and not taken was in queues that are gone. All of it comes again, in its order.
    private static func remakeMessages(in tx: Connection) throws -> Int {
        try tx.query("DELETE FROM outbox")
        var made = try tx.query(
            """
            SELECT publish_event(h, e.seq, e.event_id, e.event_type, e.timestamp, e.attempt, e.metadata)
            FROM task_events e JOIN task_heads h USING (task_id)
                LEFT JOIN consumer_positions p ON p.consumer = 'fanout' AND p.task_id = e.task_id
            WHERE e.seq > coalesce(p.last_seq, 0) ORDER BY e.task_id, e.seq
            """
        ).count
        made += try tx.query(
            """
            SELECT publish_command(h, c.seq, c.message_id, c.command, c.attempt, c.payload)
            FROM task_commands c JOIN task_heads h USING (task_id)
                LEFT JOIN consumer_positions p ON p.consumer = 'orchestrator' AND p.task_id = c.task_id
            WHERE c.seq > coalesce(p.last_seq, 0) ORDER BY c.task_id, c.seq
            """
        ).count
        made += try tx.query(
            """
            SELECT publish_notification(e.effect_id, 1) FROM effects e
            WHERE e.kind = 'notification' AND e.state IN ('planned', 'sending', 'unknown')
            ORDER BY e.channel, e.task_id, e.stream_seq
            """
        ).count
        return made
    }
}
