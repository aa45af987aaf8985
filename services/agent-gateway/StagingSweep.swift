import Domain
import FoundationEssentials
import Glibc
import Postgres
import Telemetry
import Threads

/// Frees what tasks that ended a while ago have left on the disk: their staging repositories with drafts, and locks. Files
/// that were kept of a task go when the task itself was deleted.
///
/// A crash in the middle leaves the rest to the next pass.
struct StagingSweep: Sendable {
    let pool: Pool
    let directory: String
    /// How long a task must have been over.
    let keep: Duration
    let log: Logger

    /// Returns how many tasks were cleared away.
    @discardableResult
    func runOnce() async throws -> Int {
        let keep = self.keep.inSeconds
        let staging = try await clear(
            [("staging", ""), ("locks", "task-"), ("locks", "trace-")],
            keeping: "completed_at IS NULL OR completed_at > clock_timestamp() - make_interval(secs => \(keep))")
        let artifacts = try await clear([("artifacts", "")], keeping: "true")
        if staging + artifacts > 0 { log.info("staging cleared", ["tasks": staging, "deleted_tasks": artifacts]) }
        return staging + artifacts
    }

    /// What the database does not know is nobody's any more: tasks are written before their files.
    private func clear(_ folders: [(folder: String, prefix: String)], keeping condition: Query) async throws -> Int {
        let found = try entries(folders)
        let names = found.keys.map(\.rawValue)
        guard !names.isEmpty else { return 0 }
        let kept = try await pool.run { connection in
            Set(
                try connection.query(
                    "SELECT task_id FROM tasks WHERE task_id = ANY(\(names)) AND (\(condition))"
                ).map { try $0.get("task_id", as: String.self) })
        }
        var cleared = 0
        for (task, paths) in found where !kept.contains(task.rawValue) {
            for path in paths { try FileManager.default.removeItem(atPath: path) }
            cleared += 1
        }
        return cleared
    }

    /// Everything that is named after a task, by task.
    private func entries(_ folders: [(folder: String, prefix: String)]) throws -> [TaskID: [String]] {
        var found: [TaskID: [String]] = [:]
        for (folder, prefix) in folders {
            let path = "\(directory)/\(folder)"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            for name in try FileManager.default.contentsOfDirectory(atPath: path) where name.hasPrefix(prefix) {
                let rest = name.dropFirst(prefix.count)
                guard let task = TaskID(rawValue: String(rest.prefix { $0 != "." })) else { continue }
                found[task, default: []].append("\(path)/\(name)")
            }
        }
        return found
    }
}
