import Domain
import Postgres
import Store
import Telemetry
import Threads

/// How long things are kept after they are over.
struct Retention: Sendable {
    /// Tasks with everything of theirs, after their end.
    var tasks: Duration
    /// Settled rows of the ledger.
    var ledger: Duration
    /// What people told agents and decided for them.
    var conversation: Duration
    var idempotencyKeys: Duration
    /// Logins, after their end.
    var sessions: Duration
    /// Dead letters that were replayed or dropped.
    var deadLetters: Duration
    /// That a task was deleted: for as long as a message of it might come again.
    var deleted: Duration
}

/// Deletes what is older than it is to be kept, in batches, each in a transaction of its own. What one run does not get
/// through is left to the next; a batch that fails holds up nothing else.
struct RetentionSweep: Sendable {
    /// Rows of one statement.
    static let batch = 500
    /// Batches of one kind in one run.
    static let batches = 2000

    let pool: Pool
    let retention: Retention
    let deleted: Counter
    let log: Logger

    init(pool: Pool, retention: Retention, metrics: Metrics = .process, log: Logger) {
        self.pool = pool
        self.retention = retention
        self.log = log
        deleted = metrics.counter(
            "bgagent_retention_rows_total", "Rows that were deleted because they were old.", labels: ["table"])
    }

    /// Returns what was deleted.
    @discardableResult
    func runOnce() async throws -> DeletedRows {
        typealias Delete = @Sendable (Double, Int, Connection) throws -> Int
        let conversation = RetentionStore.Conversation.allCases.map { what -> (String, Duration, Delete) in
            (
                what.rawValue, retention.conversation,
                { try RetentionStore.delete(what, afterSeconds: $0, limit: $1, in: $2) }
            )
        }
        let rules: [(table: String, keep: Duration, delete: Delete)] = [
            ("effects", retention.ledger, { try RetentionStore.deleteEffects(afterSeconds: $0, limit: $1, in: $2) }),
            (
                "idempotency_keys", retention.idempotencyKeys,
                { try RetentionStore.deleteIdempotencyKeys(afterSeconds: $0, limit: $1, in: $2) }
            ),
            (
                "api_tokens", retention.sessions,
                { try RetentionStore.deleteSessions(afterSeconds: $0, limit: $1, in: $2) }
            ),
            (
                "dead_letters", retention.deadLetters,
                { try RetentionStore.deleteDeadLetters(afterSeconds: $0, limit: $1, in: $2) }
            ),
            (
                "deleted_tasks", retention.deleted,
                { try RetentionStore.forgetDeleted(afterSeconds: $0, limit: $1, in: $2) }
            ),
        ]
        var sum = try await deleteTasks()
        for rule in rules + conversation {
            sum.add(try await deleteAll(of: rule.table, keep: rule.keep, rule.delete), to: rule.table)
        }
        if sum.total > 0 {
            log.info("old rows deleted", ["rows": sum.total, "tasks": sum.tables["tasks"] ?? 0])
        }
        return sum
    }

    private func deleteTasks() async throws -> DeletedRows {
        let keep = retention.tasks.inSeconds
        var sum = DeletedRows()
        var last: EndedTask?
        for _ in 0..<Self.batches {
            try Task.checkCancellation()
            let behind = last
            let next = try await pool.run { try RetentionStore.nextTask(afterSeconds: keep, after: behind, in: $0) }
            guard let next else { break }
            last = next
            do {
                sum.add(try await deleteTask(next.id, keep))
            } catch let error as PostgresError where Self.isItsOwn(error) {
                log.error("an old task cannot be deleted", ["task_id": next.id.rawValue, "error": "\(error)"])
            }
        }
        return sum
    }

    /// All of one task, batch by batch; a task that somebody holds is left to the next run.
    private func deleteTask(_ id: TaskID, _ keep: Double) async throws -> DeletedRows {
        var sum = DeletedRows()
        while true {
            try Task.checkCancellation()
            let part = try await pool.transaction { tx in
                try RetentionStore.deleteTask(id, afterSeconds: keep, limit: Self.batch, in: tx)
            }
            guard let part else { return sum }
            for (table, count) in part.rows.tables { deleted.increment(by: Double(count), table) }
            sum.add(part.rows)
            if part.isGone { return sum }
        }
    }

    /// Whether it says something of the rows and nothing of the database, which is the same for all.
    private static func isItsOwn(_ error: PostgresError) -> Bool {
        !error.isConnectionLost && !error.isUnavailable
    }

    private func deleteAll(
        of table: String, keep: Duration, _ delete: @escaping @Sendable (Double, Int, Connection) throws -> Int
    ) async throws -> Int {
        let seconds = keep.inSeconds
        var sum = 0
        for _ in 0..<Self.batches {
            try Task.checkCancellation()
            do {
                let count = try await pool.transaction { try delete(seconds, Self.batch, $0) }
                sum += count
                deleted.increment(by: Double(count), table)
                if count < Self.batch { break }
            } catch let error as PostgresError where Self.isItsOwn(error) {
                log.error("old rows cannot be deleted", ["table": table, "error": "\(error)"])
                break
            }
        }
        return sum
    }
}
