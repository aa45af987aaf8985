import Domain
import Postgres

/// What one admission pass did.
package struct AdmissionCount: Sendable, Hashable {
    package var admitted = 0
    package var queued = 0
    /// False when another process held the lock: the pass is being made there.
    package var ran = false
}

/// The only way into HYDRATING: one pass at a time, round robin over users, first come first served within a user.
///
/// Slots are counted by the schema's trigger in this same transaction; a crash before the commit admits nobody.
package enum AdmissionStore {
    private static let lockKey: Int64 = 0x6267_6167_656e_7402
    /// Told that they wait in one pass; a pass is short, since freed slots wait for it.
    package static let queuedPerPass: Int64 = 200

    /// - Parameters:
    ///   - userSlots: tasks of one user at work at once, unless the user's row says another number.
    ///   - nodeSilence: seconds after which a compute node that was not heard of offers no places.
    package static func pass(userSlots: Int, nodeSilence: Int, in tx: Connection) throws -> AdmissionCount {
        var count = AdmissionCount()
        let locked = try tx.query("SELECT pg_try_advisory_xact_lock(\(lockKey)) AS locked")
        guard let row = locked.first, try row.get("locked", as: Bool.self) else { return count }
        count.ran = true
        let paused = Set(try PauseStore.list(in: tx).map(\.scope))
        if paused.contains(PauseStore.everywhere) {
            count.queued = try queueTheRest(noPlaces: false, paused: paused, in: tx)
            return count
        }
        var places = try freePlaces(nodeSilence: nodeSilence, in: tx)
        while places > 0 {
            let chosen = try candidates(limit: places, userSlots: userSlots, in: tx)
            try lockCounters(of: chosen, in: tx)
            var started = 0
            for task in chosen where try admit(task, in: tx) { started += 1 }
            // A round that starts nobody (the last slot of a repository went to another) would go on for ever.
            if started == 0 { break }
            count.admitted += started
            places -= started
        }
        count.queued = try queueTheRest(noPlaces: places == 0, paused: paused, in: tx)
        return count
    }

    private static func freePlaces(nodeSilence: Int, in tx: Connection) throws -> Int {
        let rows = try tx.query(
            """
            SELECT (SELECT coalesce(sum(capacity), 0) FROM compute_nodes
                    WHERE NOT draining AND last_seen > clock_timestamp() - make_interval(secs => \(Double(nodeSilence))))
                - (SELECT count(*) FROM tasks
                    WHERE status IN ('HYDRATING', 'RUNNING', 'AWAITING_APPROVAL', 'FINALIZING')) AS places
            """)
        return Int(try rows.first?.get("places", as: Int64.self) ?? 0)
    }

    /// The longest waiting admissible task of each user, the user whose last start is oldest first.
    private static func candidates(limit: Int, userSlots: Int, in tx: Connection) throws -> [TaskRecord] {
        let query: Query =
            "SELECT " + TaskRecord.columns + """
                 FROM users u
                LEFT JOIN user_concurrency c USING (user_id)
                CROSS JOIN LATERAL (
                    SELECT w.* FROM tasks w
                    LEFT JOIN repos r USING (repo)
                    LEFT JOIN repo_concurrency k USING (repo)
                    WHERE w.user_id = u.user_id AND w.status IN ('SUBMITTED', 'QUEUED')
                        AND NOT EXISTS (SELECT FROM pauses p WHERE p.scope = w.repo)
                        AND (r.max_concurrent IS NULL OR coalesce(k.running, 0) < r.max_concurrent)
                    ORDER BY w.created_at, w.task_id LIMIT 1) t
                WHERE coalesce(c.running, 0) < coalesce(u.max_concurrent, \(Int32(userSlots)))
                ORDER BY coalesce(c.last_admitted, '-infinity'), t.created_at, t.task_id
                LIMIT \(Int64(limit))
                """
        // Two users may both have the last slot of one repository in view: admit() looks again under the row locks.
        return try tx.query(query).map(TaskRecord.init(row:))
    }

    /// Every user's counter before any repository's. Whatever ends a task takes its user's and then its repository's, so
    /// a pass that took them task by task could wait for one that waits for the pass.
    private static func lockCounters(of tasks: [TaskRecord], in tx: Connection) throws {
        try tx.query(
            """
            SELECT 1 FROM user_concurrency WHERE user_id = ANY(\(tasks.map(\.userID.rawValue)))
            ORDER BY user_id FOR NO KEY UPDATE
            """)
    }

    private static func admit(_ candidate: TaskRecord, in tx: Connection) throws -> Bool {
        guard let task = try TaskStore.lock(candidate.id, in: tx),
            TaskTransition(from: task.status, on: .admitted) != nil
        else { return false }
        let full = try tx.query(
            """
            SELECT 1 FROM repos r JOIN repo_concurrency k USING (repo)
            WHERE repo = \(task.repo.rawValue) AND k.running >= r.max_concurrent
            """)
        guard full.isEmpty else { return false }
        try TaskStore.move(task, on: .admitted, event: .hydrationStarted, in: tx)
        try tx.query(
            "UPDATE user_concurrency SET last_admitted = clock_timestamp() WHERE user_id = \(task.userID.rawValue)")
        try TaskLog.send(.taskAdmitted, to: task.id, attempt: task.attempt, in: tx)
        return true
    }

    /// Tells the newly submitted who could not start why they wait.
    private static func queueTheRest(noPlaces: Bool, paused: Set<String>, in tx: Connection) throws -> Int {
        let waiting = try tx.query(
            "SELECT " + TaskRecord.columns + """
                 FROM tasks t WHERE t.status = 'SUBMITTED' ORDER BY t.status_changed_at
                LIMIT \(queuedPerPass) FOR NO KEY UPDATE OF t SKIP LOCKED
                """)
        for row in waiting {
            let task = try TaskRecord(row: row)
            let isPaused = paused.contains(PauseStore.everywhere) || paused.contains(task.repo.rawValue)
            let reason = isPaused ? "paused" : noPlaces ? "no_free_place" : "concurrency_limit"
            try TaskStore.move(
                task, on: .slotUnavailable, event: .admissionQueued, metadata: ["reason": .string(reason)], in: tx)
        }
        return waiting.count
    }
}
