import Domain
import Postgres

/// The append of law 1: an event or a command, and the message that carries it, in the caller's transaction.
///
/// Each is one statement (functions of the schema), so a flight of several can be pipelined.
package enum TaskLog {
    /// The statement that appends an event; returns `seq`, `event_id`.
    package static func event(
        _ type: TaskEventType, of task: TaskID, attempt: Int, _ metadata: JSONValue = [:]
    ) -> Query {
        "SELECT seq, event_id FROM append_event(\(task.rawValue), \(Int32(attempt)), \(type.rawValue), \(metadata.text)::jsonb)"
    }

    /// The statement that appends a command to the orchestrator; returns its dense `seq`.
    package static func command(
        _ command: TaskCommand, to task: TaskID, attempt: Int, _ payload: JSONValue = [:]
    ) -> Query {
        "SELECT append_command(\(task.rawValue), \(Int32(attempt)), \(command.rawValue), \(payload.text)::jsonb) AS seq"
    }

    /// The statement that hints a compute adapter. Losing it only delays: sweeps compare sessions with reality.
    package static func compute(
        _ type: String, routingKey: String, task: TaskID, attempt: Int, _ payload: JSONValue = [:]
    ) -> Query {
        """
        SELECT append_compute(\(task.rawValue), \(Int32(attempt)), \(type), \(routingKey), \(payload.text)::json)
        """
    }

    /// The statement that locks a task's head: before any of its sessions, and before nothing else of the task but its
    /// row. Put first in the flight of whatever changes a session and then appends.
    package static func lockHead(_ task: TaskID) -> Query {
        "SELECT 1 FROM task_heads WHERE task_id = \(task.rawValue) FOR NO KEY UPDATE"
    }

    @discardableResult
    package static func append(
        _ type: TaskEventType, to task: TaskID, attempt: Int, _ metadata: JSONValue = [:], in tx: Connection
    ) throws -> Int64 {
        let rows = try tx.query(event(type, of: task, attempt: attempt, metadata))
        guard let row = rows.first else { throw StoreError.noRow("append_event") }
        return try row.get("seq", as: Int64.self)
    }

    package static func send(
        _ name: TaskCommand, to task: TaskID, attempt: Int, _ payload: JSONValue = [:], in tx: Connection
    ) throws {
        try tx.query(command(name, to: task, attempt: attempt, payload))
    }
}

/// What a store says beyond what Postgres says.
package enum StoreError: Error, Sendable, Hashable {
    /// Somebody else moved the task since it was read. Read again and decide again.
    case conflict
    /// The move is none from the task's present state.
    case forbidden(from: TaskStatus, trigger: TaskTrigger)
    /// A statement that always returns a row returned none.
    case noRow(String)
    /// A stored value does not have the shape that this build knows.
    case corrupt(String)
}
