import Domain
import Lifecycle
import Postgres
import TestSupport
import Threads

/// Somebody who holds a task's row while others want it.
struct LockHolder: Sendable {
    private let url: String
    private let task: TaskID

    init(_ url: String, _ task: TaskID) {
        self.url = url
        self.task = task
    }

    /// Locks the row, says so, and lets go when `release` returns.
    func hold(_ held: @escaping @Sendable () -> Void, until release: @escaping @Sendable () async -> Void) async throws
    {
        let (url, task) = (url, task)
        let isReleased = Condition(false)
        let waiting = Task {
            await release()
            isReleased.update { $0 = true }
        }
        let thread = IOThreads(name: "holder", count: 1)
        try await thread.run {
            let connection = try Connection(try PostgresConfig(url: url, applicationName: "holder"))
            try connection.transaction { tx in
                try tx.query("SELECT 1 FROM tasks WHERE task_id = \(task.rawValue) FOR UPDATE")
                held()
                _ = isReleased.wait(timeout: .seconds(20)) { $0 ? true : nil }
            }
        }
        await waiting.value
        await thread.stopped()
    }
}
