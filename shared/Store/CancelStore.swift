import Domain
import Postgres

/// What became of a cancel.
package enum CancelResult: Sendable {
    /// It had not started and is over.
    case ended(TaskRecord, at: Timestamp)
    /// Its agent was told, and has the grace to save its work. A repeat changes nothing.
    case requested(TaskRecord, at: Timestamp)
    /// It had ended before.
    case alreadyFinal(TaskRecord)
}

/// The one way to cancel, from every surface: durable before it is answered.
package enum CancelStore {
    /// Ends what has no agent yet; asks everything else to stop, once, with a timer behind it.
    ///
    /// - Parameters:
    ///   - task: locked in this transaction.
    ///   - name: who asks, as the timeline tells it.
    ///   - grace: seconds for the agent to save its work.
    package static func cancel(
        _ task: TaskRecord, by name: String, grace: Double, in tx: Connection
    ) throws -> CancelResult {
        if task.status.isFinal { return .alreadyFinal(task) }
        let noted = try tx.query(
            """
            UPDATE tasks SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                cancel_requested_by = coalesce(cancel_requested_by, \(name))
            WHERE task_id = \(task.id.rawValue) RETURNING cancel_requested_at, version
            """
        ).only()
        var current = task
        current.cancelRequested = true
        current.version = try noted.get("version", as: Int64.self)
        if !task.cancelRequested {
            try TaskLog.append(
                .cancelRequested, to: task.id, attempt: task.attempt, ["requested_by": .string(name)], in: tx)
        }
        switch task.status {
        case .submitted, .queued, .parked, .hydrating:
            let ended = try TaskStore.move(current, on: .cancelled, metadata: ["cancelled_by": .string(name)], in: tx)
            let row = try tx.query("SELECT completed_at FROM tasks WHERE task_id = \(task.id.rawValue)").only()
            return .ended(ended, at: try row.get("completed_at", as: Timestamp.self))
        default:
            if !task.cancelRequested {
                try TaskLog.send(
                    .cancelRequested, to: task.id, attempt: task.attempt, ["requested_by": .string(name)], in: tx)
                try InboxStore.put("cancel", for: task.id, ["requested_by": .string(name)], in: tx)
                try TimerStore.set(.cancelGrace, of: task.id, attempt: task.attempt, inSeconds: grace, in: tx)
            }
            return .requested(current, at: try noted.get("cancel_requested_at", as: Timestamp.self))
        }
    }
}
