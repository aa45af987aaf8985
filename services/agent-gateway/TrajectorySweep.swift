import Artifacts
import Domain
import Postgres
import Store
import Telemetry
import Threads

/// Removes the trajectories of tasks that ended a while ago, and objects that no row speaks of. The row goes first: a crash
/// then leaves bytes without one, which the next pass finds.
struct TrajectorySweep: Sendable {
    let pool: Pool
    let store: any ArtifactStore
    let locks: String
    let keep: Duration
    let log: Logger
    /// Files and their locks block.
    private let threads = IOThreads(name: "traces", count: 1)

    init(pool: Pool, store: any ArtifactStore, locks: String, keep: Duration, log: Logger) {
        self.pool = pool
        self.store = store
        self.locks = locks
        self.keep = keep
        self.log = log
    }

    /// Returns how many were removed.
    @discardableResult
    func runOnce() async throws -> Int {
        let seconds = keep.inSeconds
        var removed = 0
        var after: TrajectoryRecord?
        while let record = try await pool.run({ [after] connection in
            try TrajectoryStore.expired(afterSeconds: seconds, after: after, in: connection)
        }) {
            after = record
            if try await forget(record.taskID, seconds) { removed += 1 }
        }
        return try await removed + removeUnknown()
    }

    private func forget(_ task: TaskID, _ seconds: Double) async throws -> Bool {
        try await pool.transaction { try TrajectoryStore.remove(task, afterSeconds: seconds, in: $0) }
    }

    private func removeUnknown() async throws -> Int {
        let store = self.store
        let keys = try await threads.run { try store.keys(below: "traces") }
        guard !keys.isEmpty else { return 0 }
        var removed = 0
        for key in try await pool.run({ try TrajectoryStore.unknown(keys, in: $0) }).sorted() {
            let name = key.split(separator: "/").last.map { String($0.prefix { $0 != "." }) } ?? ""
            guard let task = TaskID(rawValue: name) else { continue }
            do {
                if try await remove(key, of: task) { removed += 1 }
            } catch let error as ArtifactError {
                // It must not keep the others.
                log.warning("a trace stays", ["task_id": "\(task)", "error": "\(error)"])
            }
        }
        return removed
    }

    /// Under the lock of the file's task, and looked at again there: its first part may just be coming. One job of a
    /// thread from the lock to its release, because who holds a lock must not wait for a turn.
    private func remove(_ key: String, of task: TaskID) async throws -> Bool {
        let (pool, store, locks) = (self.pool, self.store, self.locks)
        return try await threads.run {
            let lock = try FileLock(TrajectoryRoutes.lockPath(task, in: locks))
            defer { lock.release() }
            let isUnknown = try pool.withConnection { try !TrajectoryStore.unknown([key], in: $0).isEmpty }
            if isUnknown { try store.remove(key) }
            return isUnknown
        }
    }
}
