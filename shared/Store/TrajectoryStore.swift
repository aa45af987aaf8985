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
    /// The row of a task's trajectory, made where there is none, locked, and turned to this attempt: whose parts are
    /// counted from 1 and follow what an earlier attempt has sent.
    package static func lock(_ task: TaskRecord, in tx: Connection) throws -> TrajectoryRecord {
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

    /// Counts a part that was written. The last one is an event.
    package static func advance(
        _ record: TrajectoryRecord, by bytes: Int, isTruncated: Bool, isComplete: Bool, in tx: Connection
    ) throws -> TrajectoryRecord {
        let grown = try TrajectoryRecord(
            row: tx.query(
                """
                UPDATE trajectories j SET part = j.part + 1, bytes = j.bytes + \(Int64(bytes)),
                    is_truncated = j.is_truncated OR \(isTruncated), is_complete = j.is_complete OR \(isComplete),
                    updated_at = clock_timestamp()
                WHERE j.task_id = \(record.taskID.rawValue) RETURNING \(TrajectoryRecord.columns)
                """
            ).only())
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
    package static func truncate(_ task: TaskID, in tx: Connection) throws {
        try tx.query("UPDATE trajectories SET is_truncated = true WHERE task_id = \(task.rawValue)")
    }

    /// Nil when nothing is stored.
    package static func find(_ task: TaskID, in connection: Connection) throws -> TrajectoryRecord? {
        try connection.query(
            "SELECT \(TrajectoryRecord.columns) FROM trajectories j WHERE j.task_id = \(task.rawValue) AND j.bytes > 0"
        ).first.map(TrajectoryRecord.init(row:))
    }

    /// What nothing was added to for so long, oldest first.
    package static func expired(
        afterSeconds: Double, limit: Int, in connection: Connection
    ) throws -> [TrajectoryRecord] {
        try connection.query(
            """
            SELECT \(TrajectoryRecord.columns) FROM trajectories j
            WHERE j.updated_at < now() - make_interval(secs => \(afterSeconds)) ORDER BY j.updated_at LIMIT \(limit)
            """
        ).map(TrajectoryRecord.init(row:))
    }

    /// Removes a trajectory with `remove`, under its lock: no part can come in between.
    ///
    /// - Returns: false when it was added to meanwhile, or somebody else removes it.
    package static func remove(
        _ task: TaskID, afterSeconds: Double, in tx: Connection, _ remove: (String) throws -> Void
    ) throws -> Bool {
        let rows = try tx.query(
            """
            SELECT object_key FROM trajectories WHERE task_id = \(task.rawValue)
                AND updated_at < now() - make_interval(secs => \(afterSeconds)) FOR UPDATE SKIP LOCKED
            """)
        guard let row = rows.first else { return false }
        try remove(try row.get("object_key", as: String.self))
        try tx.query("DELETE FROM trajectories WHERE task_id = \(task.rawValue)")
        try tx.query("UPDATE task_heads SET trajectory_bytes = NULL WHERE task_id = \(task.rawValue)")
        return true
    }
}
