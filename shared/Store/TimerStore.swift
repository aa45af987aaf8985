import Domain
import Postgres

/// One timer that came due.
package struct DueTimer: Sendable, Hashable {
    package let taskID: TaskID
    package let attempt: Int
    package let kind: TimerKind
}

/// Timers are rows: no process has to live until they are due. The reconciler's leader fires them as commands.
package enum TimerStore {
    /// Sets or moves the timer of that kind.
    package static func set(
        _ kind: TimerKind, of task: TaskID, attempt: Int, inSeconds seconds: Double, in tx: Connection
    ) throws {
        try tx.query(
            """
            INSERT INTO timers (task_id, attempt, kind, due_at)
            VALUES (\(task.rawValue), \(attempt), \(kind.rawValue),
                clock_timestamp() + make_interval(secs => \(seconds)))
            ON CONFLICT (task_id, attempt, kind) DO UPDATE SET due_at = excluded.due_at
            """)
    }

    package static func clear(_ kind: TimerKind, of task: TaskID, in tx: Connection) throws {
        try tx.query("DELETE FROM timers WHERE task_id = \(task.rawValue) AND kind = \(kind.rawValue)")
    }

    /// Takes what is due and sends `timer_due` for each, in one transaction. Heads are locked first and none is waited
    /// for: a task that is being worked on has its turn a second later.
    package static func fire(limit: Int, in tx: Connection) throws -> [DueTimer] {
        let rows = try tx.query(
            """
            DELETE FROM timers WHERE (task_id, attempt, kind) IN (
                SELECT r.task_id, r.attempt, r.kind FROM timers r JOIN task_heads h USING (task_id)
                WHERE r.due_at <= clock_timestamp()
                ORDER BY r.due_at LIMIT \(limit) FOR NO KEY UPDATE OF h, r SKIP LOCKED)
            RETURNING task_id, attempt, kind
            """)
        var fired: [DueTimer] = []
        for row in rows {
            guard let kind = TimerKind(rawValue: try row.get("kind", as: String.self)) else { continue }
            fired.append(
                DueTimer(taskID: try row.ulid("task_id"), attempt: try row.get("attempt", as: Int.self), kind: kind))
        }
        for timer in fired.sorted(by: { $0.taskID < $1.taskID }) {
            try TaskLog.send(
                .timerDue, to: timer.taskID, attempt: timer.attempt, ["kind": .string(timer.kind.rawValue)], in: tx)
        }
        return fired
    }
}
