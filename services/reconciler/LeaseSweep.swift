import Domain
import Postgres
import Store
import Telemetry
import Threads

/// Gives up attempts whose lease is over: the next attempt, or the end.
///
/// After the database or this process has started nothing expires for one full lease, because until then a living agent
/// may have had nobody to renew its lease with.
struct LeaseSweep: Sendable {
    let pool: Pool
    let lease: Duration
    let log: Logger
    let started = MonotonicTime.now

    /// Returns how many attempts were given up.
    @discardableResult
    func runOnce() async throws -> Int {
        guard started.elapsed >= lease else { return 0 }
        let lease = self.lease.inSeconds
        guard try await pool.run({ try SweepStore.databaseAge(in: $0) }) >= lease else { return 0 }
        let lost = try await TaskSweep(pool: pool, log: log).each {
            try SessionStore.expired(after: $0, limit: 1, in: $1).first
        } _: {
            try TaskStore.loseAttempt($0, Self.failure(lease), isSwept: true, in: $1)
        }
        for task in lost {
            log.warning("lease lost", ["task_id": task.id.rawValue, "attempt": task.attempt])
        }
        return lost.count
    }

    private static func failure(_ lease: Double) -> TaskFailure {
        TaskFailure(
            code: "lease_expired", category: .compute, title: "The agent was not heard of any more",
            description: "No heartbeat came for \(Int(lease)) s.",
            remedy: "Look at the compute node: is it up, and can it reach the agent gateway?", retryable: true)
    }
}
