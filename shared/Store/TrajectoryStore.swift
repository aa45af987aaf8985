import Domain
import Postgres

/// How much of a task's trajectory is stored, and where.
package struct TrajectoryRecord: Sendable {
    package let taskID: TaskID
    /// In the artifact store.
    package let key: String
    package let attempt: Int
    /// The last part of that attempt; 0 = none yet.
    package let part: Int
    package let bytes: Int64
    package let isTruncated: Bool
    package let isComplete: Bool
    package let updatedAt: Timestamp

    fileprivate static let columns: Query =
        "j.task_id, j.object_key, j.attempt, j.part, j.bytes, j.is_truncated, j.is_complete, j.updated_at"

    fileprivate init(row: Row) throws {
        taskID = try row.ulid("task_id")
        key = try row.get("object_key", as: String.self)
        attempt = try row.get("attempt", as: Int.self)
        part = try row.get("part", as: Int.self)
        bytes = try row.get("bytes", as: Int64.self)
        isTruncated = try row.get("is_truncated", as: Bool.self)
        isComplete = try row.get("is_complete", as: Bool.self)
        updatedAt = try row.get("updated_at", as: Timestamp.self)
    }
}

/// The rows of trajectories. A row is written after the bytes it speaks of, so that it never promises what is not there.
package enum TrajectoryStore {
    /// The row of a task's trajectory, made where there is none and turned to this attempt, whose parts are counted from
    /// 1 and follow what an earlier attempt has sent. It comes before the bytes, so that no bytes are without one.
    package static func begin(_ task: TaskRecord, in tx: Connection) throws -> TrajectoryRecord {
        let key = "traces/\(task.userID.rawValue)/\(task.id.rawValue).jsonl.gz"
        return try TrajectoryRecord(
            row: tx.query(
                """
                INSERT INTO trajectories AS j (task_id, object_key, attempt, part, bytes)
                VALUES (\(task.id.rawValue), \(key), \(Int32(task.attempt)), 0, 0)
                ON CONFLICT (task_id) DO UPDATE SET attempt = excluded.attempt,
                    part = CASE WHEN j.attempt = excluded.attempt THEN j.part ELSE 0 END,
                    is_complete = j.is_complete AND j.attempt = excluded.attempt
                RETURNING \(TrajectoryRecord.columns)
                """
            ).only())
    }

    /// Counts a part that was written at an offset: less than the row's bytes where what they speak of is gone. The last
    /// part is an event. Nil: the row has moved on since it was read.
    ///
    /// - Parameter tx: holds the attempt's session, behind its task's head.
    package static func advance(
        _ record: TrajectoryRecord, at offset: Int64, by bytes: Int, isTruncated: Bool, isComplete: Bool,
        in tx: Connection
    ) throws -> TrajectoryRecord? {
        let rows = try tx.query(
            """
            UPDATE trajectories j SET part = j.part + 1, bytes = \(offset + Int64(bytes)),
                is_truncated = j.is_truncated OR \(isTruncated) OR \(offset) < j.bytes,
                is_complete = j.is_complete OR \(isComplete), updated_at = clock_timestamp()
            WHERE j.task_id = \(record.taskID.rawValue) AND j.attempt = \(Int32(record.attempt))
                AND j.part = \(Int32(record.part)) AND j.bytes = \(record.bytes)
            RETURNING \(TrajectoryRecord.columns)
            """)
        guard let grown = try rows.first.map(TrajectoryRecord.init(row:)) else { return nil }
        try tx.query(
            "UPDATE task_heads SET trajectory_bytes = \(grown.bytes) WHERE task_id = \(record.taskID.rawValue)")
        if isComplete {
            try TaskLog.append(
                .agentMilestone, to: record.taskID, attempt: record.attempt,
                [
                    "milestone": "trajectory_uploaded", "bytes": .integer(grown.bytes),
                    "truncated": .bool(grown.isTruncated),
                ], in: tx)
        }
        return grown
    }

    /// Says that what comes next is not kept, so that whoever reads the rest knows.
    package static func truncate(_ task: TaskID, in connection: Connection) throws {
        try connection.query("UPDATE trajectories SET is_truncated = true WHERE task_id = \(task.rawValue)")
    }

    /// Nil when nothing is stored.
    package static func find(_ task: TaskID, in connection: Connection) throws -> TrajectoryRecord? {
        try connection.query(
            "SELECT \(TrajectoryRecord.columns) FROM trajectories j WHERE j.task_id = \(task.rawValue) AND j.bytes > 0"
        ).first.map(TrajectoryRecord.init(row:))
    }

    /// The next of those whose task ended so long ago, or is deleted, and to which nothing was added since; by age, from
    /// behind `after` on.
    package static func expired(
        afterSeconds: Double, after: TrajectoryRecord?, in connection: Connection
    ) throws -> TrajectoryRecord? {
        var query: Query = """
            SELECT \(TrajectoryRecord.columns) FROM trajectories j LEFT JOIN tasks t USING (task_id)
            WHERE \(isOver(afterSeconds))
            """
        if let after { query += " AND (j.updated_at, j.task_id) > (\(after.updatedAt), \(after.taskID.rawValue))" }
        query += " ORDER BY j.updated_at, j.task_id LIMIT 1"
        return try connection.query(query).first.map(TrajectoryRecord.init(row:))
    }

    /// Forgets a trajectory; its bytes are then nobody's. False when it was added to meanwhile.
    package static func remove(_ task: TaskID, afterSeconds: Double, in tx: Connection) throws -> Bool {
        try tx.query(TaskLog.lockHead(task))
        let removed = try tx.query(
            """
            DELETE FROM trajectories WHERE task_id IN (
                SELECT j.task_id FROM trajectories j LEFT JOIN tasks t USING (task_id)
                WHERE j.task_id = \(task.rawValue) AND \(isOver(afterSeconds)))
            """)
        guard removed.affected == 1 else { return false }
        try tx.query("UPDATE task_heads SET trajectory_bytes = NULL WHERE task_id = \(task.rawValue)")
        return true
    }

    /// Which of these objects no row speaks of.
    package static func unknown(_ keys: [String], in connection: Connection) throws -> Set<String> {
        let known = try connection.query("SELECT object_key FROM trajectories WHERE object_key = ANY(\(keys))").map {
            try $0.get("object_key", as: String.self)
        }
        return Set(keys).subtracting(known)
    }

    private static func isOver(_ seconds: Double) -> Query {
        """
        j.updated_at < now() - make_interval(secs => \(seconds))
            AND (t.task_id IS NULL OR t.completed_at < now() - make_interval(secs => \(seconds)))
        """
    }
}
