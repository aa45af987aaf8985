import Domain
import Postgres

/// One item on its way to an agent.
package struct InboxItem: Sendable {
    package let id: String
    package let kind: String
    package let payload: JSONValue
}

/// What people and the platform tell a running agent, kept until the agent says that it arrived.
package enum InboxStore {
    package static func put(_ kind: String, for task: TaskID, _ payload: JSONValue, in tx: Connection) throws {
        try tx.query(
            """
            INSERT INTO inbox (task_id, kind, payload) VALUES (\(task.rawValue), \(kind), \(payload.text)::jsonb)
            """)
    }

    /// What was not delivered yet, oldest first.
    package static func open(_ task: TaskID, in connection: Connection) throws -> [InboxItem] {
        try connection.query(
            """
            SELECT item_id, kind, payload::text FROM inbox
            WHERE task_id = \(task.rawValue) AND delivered_at IS NULL AND acknowledged_at IS NULL
            ORDER BY item_id LIMIT 100
            """
        ).map { row in
            InboxItem(
                id: try row.get("item_id", as: String.self), kind: try row.get("kind", as: String.self),
                payload: try row.json("payload"))
        }
    }

    /// Notes a receipt. False when there is no such item.
    package static func receive(
        _ id: String, of task: TaskID, isDelivered: Bool, in connection: Connection
    ) throws -> Bool {
        try connection.query(
            """
            UPDATE inbox SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
                delivered_at = CASE WHEN \(isDelivered) THEN coalesce(delivered_at, clock_timestamp())
                    ELSE delivered_at END
            WHERE item_id = \(id) AND task_id = \(task.rawValue)
            """
        ).affected == 1
    }
}
