import Domain
import Postgres
import Store
import Telemetry

/// One kind of sweep: a transaction for each task, so that locks are held for one task at a time and a task that cannot
/// be mended holds back no other.
struct TaskSweep: Sendable {
    /// Longest run of one sweep; the rest comes with the next.
    static let limit = 100
    let pool: Pool
    let log: Logger

    /// A task that a sweep cannot mend: nothing of it was changed, and the sweep goes on behind it.
    private struct Unmended: Error {
        let id: TaskID
        let reason: String
    }

    /// Finds the next task behind the given one, locked, and mends it, until there is none left. Returns those mended, as
    /// they were found.
    func each(
        _ find: @escaping @Sendable (TaskID?, Connection) throws -> TaskRecord?,
        _ mend: @escaping @Sendable (TaskRecord, Connection) throws -> Void
    ) async throws -> [TaskRecord] {
        var mended: [TaskRecord] = []
        var last: TaskID?
        for _ in 0..<TaskSweep.limit {
            let behind = last
            do {
                let task = try await pool.transaction { tx in try TaskSweep.next(find(behind, tx), mend, in: tx) }
                guard let task else { break }
                last = task.id
                mended.append(task)
            } catch let error as Unmended {
                last = error.id
                log.error("a task cannot be swept", ["task_id": error.id.rawValue, "error": error.reason])
            }
        }
        return mended
    }

    private static func next(
        _ task: TaskRecord?, _ mend: (TaskRecord, Connection) throws -> Void, in tx: Connection
    ) throws -> TaskRecord? {
        guard let task else { return nil }
        do {
            try mend(task, tx)
        } catch let error as PostgresError where error.isRetryable || error.isConnectionLost || error.isUnavailable {
            throw error
        } catch {
            throw Unmended(id: task.id, reason: "\(error)")
        }
        return task
    }
}
