import Domain
import Postgres
import Store
import Telemetry
import Threads

/// Ends or revives tasks that have no lease and do not move.
struct StrandedSweep: Sendable {
    let pool: Pool
    let config: ReconcilerConfig
    let log: Logger

    struct Count: Sendable, Hashable {
        var failed = 0
        var expired = 0
        var revived = 0
    }

    @discardableResult
    func runOnce() async throws -> Count {
        let (stale, queueLimit, tries) = (
            config.strandedAfter.inSeconds, config.queueLimit.inSeconds, config.finalizeTries
        )
        let sweep = TaskSweep(pool: pool, log: log)
        let stranded = try await sweep.each {
            try SweepStore.stranded(afterSeconds: stale, after: $0, limit: 1, in: $1).first
        } _: {
            try Self.strand($0, Self.standsStill($0), in: $1)
        }
        let expired = try await sweep.each {
            try SweepStore.expiredInQueue(afterSeconds: queueLimit, after: $0, limit: 1, in: $1).first
        } _: {
            try Self.strand($0, Self.queueTooLong, in: $1)
        }
        let finalizing = try await sweep.each {
            try SweepStore.staleFinalizing(afterSeconds: min(stale, 60), after: $0, limit: 1, in: $1).first
        } _: { task, tx in
            if task.stepAttempts >= tries {
                try Self.strand(task, Self.standsStill(task), in: tx)
            } else {
                try SweepStore.commandFinalize(task, in: tx)
            }
        }
        let revived = finalizing.count { $0.stepAttempts < tries }
        let count = Count(
            failed: stranded.count + finalizing.count - revived, expired: expired.count, revived: revived)
        if count != Count() {
            log.warning(
                "stranded tasks", ["failed": count.failed, "queue_expired": count.expired, "revived": count.revived])
        }
        return count
    }

    private static func strand(_ task: TaskRecord, _ failure: TaskFailure, in tx: Connection) throws {
        try TaskStore.move(
            task, on: .failed, .failure(failure), event: .taskStranded,
            metadata: ["code": .string(failure.code), "prior_status": .string(task.status.rawValue)], in: tx)
    }

    private static func standsStill(_ task: TaskRecord) -> TaskFailure {
        TaskFailure(
            code: "task_stranded", category: .timeout, title: "The task did not move any more",
            description: "It stood in \(task.status.rawValue) for too long and nothing took it on.",
            remedy: "Check that orchestrator and compute adapter run and are ready; then submit again.", retryable: true
        )
    }

    private static let queueTooLong = TaskFailure(
        code: "queue_timeout", category: .concurrency, title: "No slot came free in time",
        description: "The task waited in the queue for longer than allowed.",
        remedy: "Add compute capacity or raise the limits, then submit again.", retryable: true)
}
