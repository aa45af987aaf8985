import Domain
import Postgres

/// Where a next attempt starts from.
package struct Checkpoint: Sendable, Hashable {
    package let attempt: Int
    package let turn: Int
    package let commit: String

    package init(attempt: Int, turn: Int, commit: String) {
        self.attempt = attempt
        self.turn = turn
        self.commit = commit
    }
}

/// Saved work of a task, newest last.
package enum CheckpointStore {
    package static func newest(_ task: TaskID, in connection: Connection) throws -> Checkpoint? {
        try connection.query(
            """
            SELECT attempt, turn, commit_sha FROM checkpoints WHERE task_id = \(task.rawValue)
            ORDER BY attempt DESC, created_at DESC LIMIT 1
            """
        ).first.map { row in
            Checkpoint(
                attempt: try row.get("attempt", as: Int.self), turn: try row.get("turn", as: Int.self),
                commit: try row.get("commit_sha", as: String.self))
        }
    }

    /// Writes the row once; a repeat changes nothing and tells nothing. True when it was new.
    package static func save(_ checkpoint: Checkpoint, of task: TaskID, in tx: Connection) throws -> Bool {
        let saved = try tx.query(
            """
            INSERT INTO checkpoints (task_id, attempt, turn, commit_sha)
            VALUES (\(task.rawValue), \(checkpoint.attempt), \(checkpoint.turn), \(checkpoint.commit))
            ON CONFLICT DO NOTHING
            """)
        guard saved.affected == 1 else { return false }
        try TaskLog.append(
            .checkpointSaved, to: task, attempt: checkpoint.attempt,
            ["turn": JSONValue(checkpoint.turn), "commit": .string(checkpoint.commit)], in: tx)
        return true
    }
}
