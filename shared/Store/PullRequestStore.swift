import Domain
import Postgres

/// The pull request of a task in the ledger of effects: intended before it is asked for, looked up before it is asked
/// for again. Its marker is the head branch, which no other task has.
package enum PullRequestStore {
    private static func id(_ task: TaskID) -> String { "pull_request:\(task)" }

    /// Writes the intent, once. From then on a cancel comes too late.
    package static func intend(_ task: TaskRecord, _ payload: JSONValue, in tx: Connection) throws {
        try tx.query(
            """
            INSERT INTO effects (effect_id, task_id, kind, channel, target, event_type, payload)
            VALUES (\(id(task.id)), \(task.id.rawValue), 'pull_request', 'forge', \(task.repo.rawValue),
                'pr_created', \(payload.text)::jsonb)
            ON CONFLICT (effect_id) DO NOTHING
            """)
    }

    /// Whether the intent is written, whatever became of it.
    package static func isIntended(_ task: TaskID, in connection: Connection) throws -> Bool {
        try !connection.query("SELECT 1 FROM effects WHERE effect_id = \(id(task))").isEmpty
    }

    /// Notes a try whose end is not known.
    package static func markUnknown(_ task: TaskID, _ error: String, in connection: Connection) throws {
        try connection.query(
            """
            UPDATE effects SET state = 'unknown', attempts = attempts + 1, last_error = \(error)
            WHERE effect_id = \(id(task)) AND state IN ('planned', 'unknown')
            """)
    }

    package static func markSent(_ task: TaskID, url: String, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE effects SET state = 'sent', external_ref = \(url), sent_at = clock_timestamp(),
                attempts = attempts + 1
            WHERE effect_id = \(id(task)) AND state <> 'sent'
            """)
    }

    package static func markDead(_ task: TaskID, _ error: String, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE effects SET state = 'dead', last_error = \(error)
            WHERE effect_id = \(id(task)) AND state IN ('planned', 'unknown')
            """)
    }
}
