import Domain
import Postgres

/// One item on its way to an agent.
package struct InboxItem: Sendable {
    package let id: String
    package let kind: String
    package let payload: JSONValue
}

/// What became of a receipt.
package enum InboxReceipt: Sendable {
    case taken
    /// The person took it back first: the agent must not use it.
    case withdrawn
    case unknown
}

/// What people and the platform tell a running agent, kept until the agent says that it arrived.
///
/// An item is shown until the present attempt has acknowledged it. Words of people that an earlier attempt acknowledged
/// and never delivered are shown again, under the same id.
package enum InboxStore {
    /// - Parameter attempt: the only one that it is meant for; nil = whichever runs.
    /// - Returns: the item's id.
    @discardableResult
    package static func put(
        _ kind: String, for task: TaskID, attempt: Int? = nil, _ payload: JSONValue, in tx: Connection
    ) throws -> String {
        try tx.query(
            """
            INSERT INTO inbox (task_id, kind, attempt, payload)
            VALUES (\(task.rawValue), \(kind), \(attempt.map(Int64.init))::int, \(payload.text)::jsonb) RETURNING item_id
            """
        ).only().get("item_id", as: String.self)
    }

    /// What this attempt has not acknowledged yet, oldest first.
    package static func open(_ task: TaskID, attempt: Int, in connection: Connection) throws -> [InboxItem] {
        try connection.query(
            """
            SELECT item_id, kind, payload::text FROM inbox
            WHERE task_id = \(task.rawValue) AND delivered_at IS NULL AND withdrawn_at IS NULL
                AND (attempt IS NULL OR attempt = \(Int32(attempt)))
                AND (acknowledged_at IS NULL
                    OR (kind IN ('nudge', 'ask') AND acknowledged_attempt < \(Int32(attempt))))
            ORDER BY item_id LIMIT 100
            """
        ).map { row in
            InboxItem(
                id: try row.get("item_id", as: String.self), kind: try row.get("kind", as: String.self),
                payload: try row.json("payload"))
        }
    }

    /// Notes a receipt; a repeat changes nothing. For a nudge it is an event as well, committed before the agent hears
    /// of it: what it then puts before the model was claimed.
    ///
    /// - Parameter turn: of the model's request that carries the item, with `isDelivered`.
    package static func receive(
        _ id: String, of task: TaskRecord, isDelivered: Bool, turn: Int?, in tx: Connection
    ) throws -> InboxReceipt {
        try tx.query(TaskLog.lockHead(task.id))
        let rows = try tx.query(
            """
            UPDATE inbox SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
                acknowledged_attempt = \(Int32(task.attempt)),
                delivered_at = CASE WHEN \(isDelivered) THEN coalesce(delivered_at, clock_timestamp())
                    ELSE delivered_at END
            WHERE item_id = \(id) AND task_id = \(task.id.rawValue) AND withdrawn_at IS NULL RETURNING kind
            """)
        guard let row = rows.first else {
            let gone = try tx.query("SELECT 1 FROM inbox WHERE item_id = \(id) AND task_id = \(task.id.rawValue)")
            return gone.isEmpty ? .unknown : .withdrawn
        }
        if try row.get("kind", as: String.self) == "nudge" {
            try NudgeStore.receive(id, of: task, isDelivered: isDelivered, turn: turn, in: tx)
        }
        return .taken
    }

    /// Takes an item back. False when an agent has it.
    static func withdraw(_ id: String, in tx: Connection) throws -> Bool {
        try tx.query(
            """
            UPDATE inbox SET withdrawn_at = clock_timestamp()
            WHERE item_id = \(id) AND acknowledged_at IS NULL AND withdrawn_at IS NULL
            """
        ).affected == 1
    }

    /// Says that an item needs no agent any more.
    static func settle(_ id: String, in tx: Connection) throws {
        try tx.query(
            "UPDATE inbox SET delivered_at = coalesce(delivered_at, clock_timestamp()) WHERE item_id = \(id)")
    }
}
