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
        let lost = try await pool.transaction { tx -> [TaskRecord] in
            guard try SweepStore.databaseAge(in: tx) >= lease else { return [] }
            let expired = try SessionStore.expired(limit: 100, in: tx)
            for task in expired { try TaskStore.loseAttempt(task, Self.failure(lease), isSwept: true, in: tx) }
            return expired
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
