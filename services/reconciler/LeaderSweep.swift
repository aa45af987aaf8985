import Lifecycle
import Postgres
import Telemetry
import Threads

/// The key that makes one reconciler the leader.
enum Leadership {
    static let key = AdvisoryLock.key("reconciler")
}

/// A sweep that only the leader runs. Losing the lock in the middle is harmless: every sweep locks the rows it changes.
struct LeaderSweep: Service {
    let name: String
    let interval: Duration
    let lock: AdvisoryLock
    let log: Logger
    let runOnce: @Sendable () async throws -> Void

    func run() async throws {
        try await Periodic(name, every: interval, log: log) {
            if try await lock.tryAcquire(Leadership.key) { try await runOnce() }
        }.run()
    }
}
