import Domain
import Postgres

/// Finds what fell through. Every sweep takes a bounded number of rows, locks them and skips what others hold.
package enum SweepStore {
    /// Seconds since the database started: a fresh one has not heard from anybody yet.
    package static func databaseAge(in connection: Connection) throws -> Double {
        try connection.query(
            "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS age"
        ).only().get("age", as: Double.self)
    }

    /// Tasks without a lease that have not moved for `afterSeconds`: nobody admitted them, nobody claimed them, or nobody
    /// took note of their session's end. By task id from behind `after` on, like the other sweeps.
    package static func stranded(
        afterSeconds: Double, after: TaskID? = nil, limit: Int, in tx: Connection
    ) throws -> [TaskRecord] {
        try tx.query(
            "SELECT " + TaskRecord.columns + """
                 FROM tasks t LEFT JOIN sessions s ON s.task_id = t.task_id AND s.attempt = t.attempt
                WHERE t.task_id > \(after?.rawValue ?? "") AND (
                    t.status IN ('SUBMITTED', 'HYDRATING') AND (s.state IS NULL OR s.state IN ('requested', 'void'))
                        AND t.status_changed_at < clock_timestamp() - make_interval(secs => \(afterSeconds))
                    OR t.status IN ('RUNNING', 'AWAITING_APPROVAL') AND s.state IN ('ended', 'void')
                        AND s.lease_until < clock_timestamp() - make_interval(secs => \(afterSeconds)))
                ORDER BY t.task_id LIMIT \(limit) FOR NO KEY UPDATE OF t SKIP LOCKED
                """
        ).map(TaskRecord.init(row:))
    }

    /// Tasks that waited in the queue for longer than `afterSeconds` since they were put there: one that lost an attempt
    /// keeps its place and starts its wait anew.
    package static func expiredInQueue(
        afterSeconds: Double, after: TaskID? = nil, limit: Int, in tx: Connection
    ) throws -> [TaskRecord] {
        try tx.query(
            "SELECT " + TaskRecord.columns + """
                 FROM tasks t WHERE t.status = 'QUEUED' AND t.task_id > \(after?.rawValue ?? "")
                    AND t.status_changed_at < clock_timestamp() - make_interval(secs => \(afterSeconds))
                ORDER BY t.task_id LIMIT \(limit) FOR NO KEY UPDATE OF t SKIP LOCKED
                """
        ).map(TaskRecord.init(row:))
    }

    /// Tasks in FINALIZING that nothing moves any more: no try for `afterSeconds` and no timer for the next one.
    package static func staleFinalizing(
        afterSeconds: Double, after: TaskID? = nil, limit: Int, in tx: Connection
    ) throws -> [TaskRecord] {
        try tx.query(
            "SELECT " + TaskRecord.columns + """
                 FROM tasks t WHERE t.status = 'FINALIZING' AND t.task_id > \(after?.rawValue ?? "")
                    AND t.updated_at < clock_timestamp() - make_interval(secs => \(afterSeconds) * power(2, t.step_attempts))
                    AND NOT EXISTS (SELECT FROM timers r WHERE r.task_id = t.task_id AND r.kind = 'retry')
                ORDER BY t.task_id LIMIT \(limit) FOR NO KEY UPDATE OF t SKIP LOCKED
                """
        ).map(TaskRecord.init(row:))
    }

    /// Asks for finalization once more and counts it.
    package static func commandFinalize(_ task: TaskRecord, in tx: Connection) throws {
        try tx.query("UPDATE tasks SET step_attempts = step_attempts + 1 WHERE task_id = \(task.id.rawValue)")
        try TaskLog.send(.finalize, to: task.id, attempt: task.attempt, in: tx)
    }

    /// Counters that do not agree with the tasks, mended. More than none is a defect to report.
    package static func recountSlots(in tx: Connection) throws -> Int {
        let users = try tx.query(
            """
            UPDATE user_concurrency c SET running = r.running FROM (
                SELECT u.user_id, count(t.task_id)::int AS running FROM user_concurrency u
                LEFT JOIN tasks t ON t.user_id = u.user_id AND holds_slot(t.status) GROUP BY u.user_id) r
            WHERE r.user_id = c.user_id AND r.running <> c.running
            """
        ).affected
        let repos = try tx.query(
            """
            UPDATE repo_concurrency c SET running = r.running FROM (
                SELECT k.repo, count(t.task_id)::int AS running FROM repo_concurrency k
                LEFT JOIN tasks t ON t.repo = k.repo AND holds_slot(t.status) GROUP BY k.repo) r
            WHERE r.repo = c.repo AND r.running <> c.running
            """
        ).affected
        return users + repos
    }
}
