import Domain
import Postgres

/// Something that was given up and waits for a person: a message that a consumer could not handle, or a notification
/// that could not be sent.
package struct DeadLetterRecord: Sendable {
    package enum Kind: String, Sendable, CaseIterable { case message, notification }

    /// A ULID for messages, the ledger's hash for notifications.
    package let id: String
    package let kind: Kind
    /// The consumer, or the channel.
    package let source: String
    package let taskID: String?
    package let seq: Int64?
    package let reason: String
    package let createdAt: Timestamp
    package let body: String
    /// Where a message was taken from; for a notification its target.
    package let place: String

    init(row: Row) throws {
        id = try row.get("id", as: String.self)
        kind = try row.get("kind", as: String.self) == "message" ? .message : .notification
        source = try row.get("source", as: String.self)
        taskID = try row.get("task_id", as: String?.self)
        seq = try row.get("seq", as: Int64?.self)
        reason = try row.get("reason", as: String.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        body = try row.get("body", as: String.self)
        place = try row.get("place", as: String.self)
    }

    /// The stream that a message's queue belongs to; nil for a queue that is none of the platform's.
    package var stream: String? {
        let parts = place.split(separator: ".").map(String.init)
        switch (parts.first, parts.count) {
        case ("orchestrator", 2): return "commands"
        case ("fanout", 2): return "events"
        case ("dispatch", 3): return "notifications.\(parts[1])"
        default: return nil
        }
    }

    /// Why it cannot be done again; nil when it can.
    package var obstacle: String? {
        guard kind == .message else { return nil }
        guard taskID != nil, seq != nil else { return "it could not be decoded, so no task and no place are known" }
        return stream == nil ? "its queue \(place) is none of the platform's" : nil
    }
}

/// Dead letters of both kinds as one list, oldest first.
package enum DeadLetterStore {
    private static let messages: Query = """
        SELECT d.dead_letter_id::text AS id, 'message' AS kind, d.consumer AS source, d.task_id, d.seq, d.reason,
            d.created_at, d.body, d.queue AS place
        FROM dead_letters d WHERE d.state = 'open'
        """
    private static let notifications: Query = """
        SELECT e.effect_id::text AS id, 'notification' AS kind, e.channel AS source, e.task_id::text AS task_id,
            e.stream_seq AS seq, coalesce(e.last_error, '') AS reason, e.planned_at AS created_at,
            e.payload::text AS body, e.target AS place
        FROM effects e WHERE e.state = 'dead' AND e.kind = 'notification'
        """

    /// Open ones behind `after`.
    ///
    /// - Parameter after: time and id of the last one of the page before.
    package static func list(
        task: String?, after: (at: Timestamp, id: String)?, limit: Int, in connection: Connection
    ) throws -> [DeadLetterRecord] {
        try connection.query(
            """
            SELECT * FROM (\(messages) UNION ALL \(notifications)) l
            WHERE (\(task)::text IS NULL OR l.task_id = \(task))
                AND (\(after?.at)::timestamptz IS NULL
                    OR (l.created_at, l.id COLLATE "C") > (\(after?.at)::timestamptz, \(after?.id)::text COLLATE "C"))
            ORDER BY l.created_at, l.id COLLATE "C" LIMIT \(limit)
            """
        ).map(DeadLetterRecord.init(row:))
    }

    /// An open one. In a transaction it is locked, so that of two who settle it at once the second finds it gone.
    package static func find(_ id: String, lock: Bool = false, in connection: Connection) throws -> DeadLetterRecord? {
        if lock {
            try connection.query(
                "SELECT 1 FROM dead_letters WHERE dead_letter_id = \(id) AND state = 'open' FOR UPDATE")
            try connection.query("SELECT 1 FROM effects WHERE effect_id = \(id) AND state = 'dead' FOR UPDATE")
        }
        return try connection.query(
            "SELECT * FROM (\(messages) UNION ALL \(notifications)) l WHERE l.id = \(id)"
        ).first.map(DeadLetterRecord.init(row:))
    }

    /// Has it done once more: a message is handled again behind its consumer's position, a notification is planned anew.
    ///
    /// Nothing is doubled by a repeat: the message's row in `message_replays` goes with its work, and a notification is
    /// one row of the ledger.
    package static func replay(_ letter: DeadLetterRecord, in tx: Connection) throws {
        switch letter.kind {
        case .notification:
            try tx.query(
                """
                UPDATE effects SET state = 'planned', attempts = 0, next_at = clock_timestamp()
                WHERE effect_id = \(letter.id) AND state = 'dead'
                """)
            try tx.query("SELECT publish_notification(\(letter.id), 1)")
        case .message:
            guard let task = letter.taskID, let seq = letter.seq, let stream = letter.stream else { return }
            try tx.query(
                """
                INSERT INTO message_replays (consumer, task_id, seq, dead_letter_id)
                VALUES (\(letter.source), \(task), \(seq), \(letter.id)) ON CONFLICT DO NOTHING
                """)
            try ConsumerStore.republish(stream: stream, task: task, seq: seq, in: tx)
            try settle(letter, as: "replayed", in: tx)
        }
    }

    /// Takes it off the list for good.
    package static func drop(_ letter: DeadLetterRecord, in tx: Connection) throws {
        switch letter.kind {
        case .notification:
            try tx.query("UPDATE effects SET state = 'superseded' WHERE effect_id = \(letter.id) AND state = 'dead'")
        case .message: try settle(letter, as: "dropped", in: tx)
        }
    }

    private static func settle(_ letter: DeadLetterRecord, as state: String, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE dead_letters SET state = \(state), settled_at = clock_timestamp()
            WHERE dead_letter_id = \(letter.id) AND state = 'open'
            """)
    }
}
