import Domain
import Postgres

/// One message that waits to be published.
package struct OutboxRow: Sendable {
    package let id: Int64
    package let stream: String
    package let taskID: String
    package let streamSeq: Int64
    package let messageID: String
    package let exchange: String
    package let routingKey: String
    package let type: String
    package let attempt: Int
    package let traceparent: String
    package let payload: String
    /// What keeps its order: one stream of one task.
    package var lane: String { "\(stream)/\(taskID)" }
}

extension OutboxRow {
    init(row: Row) throws {
        id = try row.get("id", as: Int64.self)
        stream = try row.get("stream", as: String.self)
        taskID = try row.get("task_id", as: String.self)
        streamSeq = try row.get("stream_seq", as: Int64.self)
        messageID = try row.get("message_id", as: String.self)
        exchange = try row.get("exchange", as: String.self)
        routingKey = try row.get("routing_key", as: String.self)
        type = try row.get("type", as: String.self)
        attempt = try row.get("attempt", as: Int.self)
        traceparent = try row.get("traceparent", as: String.self)
        payload = try row.get("payload", as: String.self)
    }
}

/// One look at a shard: the rows, and what is needed to know how far the table is settled.
package struct OutboxPage: Sendable {
    package let rows: [OutboxRow]
    /// Transactions below this have ended.
    package let xmin: Int64
    /// A transaction number newer than those of all who took an id up to `lastID`; nil when nothing new was taken.
    package let horizon: Int64?
    /// The newest id given out before the look, to anyone.
    package let lastID: Int64
}

/// How far the ids of the outbox are settled: no row at or below can still appear.
///
/// A bare cursor over ids would skip rows (ids commit out of order), and a read from the start would walk over every
/// dead row while an old snapshot (`pg_dump`) keeps vacuum away. So: a look that sees new ids takes a transaction number
/// of its own after them, which is above those of all who took them; once a later look's xmin has passed it, they have
/// all ended. (A snapshot's own xmax will not do: it is only above the newest transaction that has ended, and one that
/// still runs may be above it.) That holds because every writer has its number before its id: appends change the head
/// first, repairs the parked row.
package struct OutboxFloor: Sendable, Hashable {
    /// Read only ids above this.
    package private(set) var id: Int64 = 0
    private var marks: [Mark] = []
    private struct Mark: Hashable { var horizon: Int64, lastID: Int64 }
    /// The newest id that a mark was made for.
    package var markedID: Int64 { marks.last?.lastID ?? id }

    package init() {}

    /// Learns from a look whose page was read to its end: `pending` are the ids seen and not yet deleted.
    package mutating func advance(_ page: OutboxPage, isWhole: Bool, lowestPending: Int64?) {
        while let mark = marks.first, mark.horizon <= page.xmin {
            if isWhole { id = max(id, mark.lastID) } else { break }
            marks.removeFirst()
        }
        if let lowestPending { id = min(id, lowestPending - 1) }
        if let horizon = page.horizon, page.lastID > markedID {
            // One transaction that writes for an hour must not make a mark for every look: the last ones are merged.
            if marks.count >= 64 { marks.removeLast() }
            marks.append(Mark(horizon: horizon, lastID: page.lastID))
        }
    }
}

/// The relay's side of the outbox.
package enum OutboxStore {
    package static let shards = 8

    /// The next rows of these shards above `floor`, oldest first. Per task that is the order of commits: the head's row lock
    /// is held from before the id is taken until the commit.
    ///
    /// - Parameter held: lanes (`OutboxRow.lane`) to leave out, so that what nobody takes fills no page.
    package static func page(
        shards: [Int], above floor: OutboxFloor, limit: Int, without held: [String] = [], in connection: Connection
    ) throws -> OutboxPage {
        let taken: Query = held.isEmpty ? "" : " AND stream || '/' || task_id <> ALL(\(held)::text[])"
        // The order of the reads is the proof: ids up to `lastID` were taken by transactions below `horizon`, and those
        // below `xmin` had ended before the rows were looked at. One round trip, a snapshot for each statement.
        let looks = try connection.pipeline([
            // A sequence that gave out nothing yet names its first value all the same.
            "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END AS last_value FROM outbox_id_seq",
            """
            SELECT CASE WHEN is_called AND last_value > \(floor.markedID) THEN pg_current_xact_id()::text::bigint END
                AS horizon, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin
            FROM outbox_id_seq
            """,
            """
            SELECT id, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt, traceparent,
                payload::text
            FROM outbox WHERE shard = ANY(\(shards.map(Int32.init))::int[]) AND id > \(floor.id)\(taken)
            ORDER BY id LIMIT \(limit)
            """,
        ])
        guard let last = looks[0].first, let snapshot = looks[1].first else { throw StoreError.noRow("outbox_id_seq") }
        return OutboxPage(
            rows: try looks[2].map(OutboxRow.init(row:)), xmin: try snapshot.get("xmin", as: Int64.self),
            horizon: try snapshot.get("horizon", as: Int64?.self), lastID: try last.get("last_value", as: Int64.self))
    }

    /// Forgets what the broker has confirmed. Losing this commit only publishes again, so it does not wait for the disk.
    package static func delete(ids: [Int64], in connection: Connection) throws {
        guard !ids.isEmpty else { return }
        try connection.transaction { tx in
            try tx.query("SET LOCAL synchronous_commit = off")
            try tx.query("DELETE FROM outbox WHERE id = ANY(\(ids))")
        }
    }

    /// Messages that wait, and the age in seconds of the oldest.
    package static func backlog(in connection: Connection) throws -> (count: Int64, oldestSeconds: Double) {
        let rows = try connection.query(
            """
            SELECT count(*) AS waiting,
                coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS age
            FROM outbox
            """)
        guard let row = rows.first else { throw StoreError.noRow("outbox") }
        return (try row.get("waiting", as: Int64.self), try row.get("age", as: Double.self))
    }
}
