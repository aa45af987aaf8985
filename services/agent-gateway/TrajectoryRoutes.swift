import Artifacts
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Takes the trajectory of an attempt, part by part, so that a crash loses no more than its last seconds. A part is a
/// gzip member of its own; one behind the other they are a gzip file.
struct TrajectoryRoutes: Sendable {
    /// Of one task, as stored.
    static let limit: Int64 = 50 << 20
    private static let largestPart = 4 << 20

    let pool: Pool
    let access: SessionAccess
    let store: any ArtifactStore
    /// Where the locks of trajectories are.
    let locks: String

    static func lockPath(_ task: TaskID, in directory: String) -> String { "\(directory)/trace-\(task)" }

    private static let full = Refusal(
        status: 413, code: "TRACE_FULL", message: "No more of this task's trace is kept.")

    func add(to router: inout Router) {
        router.on("POST", "/session/trace", maxBody: Self.largestPart) { try take($0) }
    }

    /// A repeated part is taken once: the row says how many there are, and bytes behind them are written over. The disk is
    /// written without a connection in hand, under a lock that keeps everybody else away from the file; whether the attempt
    /// still counts is asked again afterwards.
    private func take(_ request: Request) throws -> Reply {
        let session = try pool.withConnection { try access.authenticate(request, .harness, in: $0) }
        guard let part = request.queryValue("part").flatMap({ Int($0) }), part > 0 else {
            throw Refusal.invalid("part: must be a number from 1")
        }
        let bytes = try request.body.load()
        guard bytes.starts(with: [0x1F, 0x8B]) else { throw Refusal.invalid("the body: must be a gzip member") }
        let lock = try FileLock(Self.lockPath(session.taskID, in: locks))
        defer { lock.release() }
        let record = try pool.withTransaction { try begin(session, in: $0) }
        if part <= record.part { return Self.answer(part, record.bytes) }
        guard part == record.part + 1 else {
            throw Refusal(
                status: 409, code: "TRACE_GAP", message: "Send part \(record.part + 1).",
                details: ["expected": JSONValue(record.part + 1)])
        }
        guard record.bytes + Int64(bytes.count) <= Self.limit, let offset = try write(bytes, to: record) else {
            try pool.withConnection { try TrajectoryStore.truncate(session.taskID, in: $0) }
            throw Self.full
        }
        let grown = try pool.withTransaction { tx in
            guard try SessionStore.lockLive(session.taskID, attempt: session.attempt, in: tx) != nil else {
                throw Refusal.staleEpoch
            }
            return try TrajectoryStore.advance(
                record, at: offset, by: bytes.count, isTruncated: request.queryValue("truncated") == "true",
                isComplete: request.queryValue("final") == "true", in: tx)
        }
        // Only a replica with locks of its own can have come between.
        guard let grown else { throw Refusal.unavailable }
        return Self.answer(part, grown.bytes)
    }

    private static func answer(_ part: Int, _ stored: Int64) -> Reply {
        Answers.data(["part": JSONValue(part), "bytes": .integer(stored)])
    }

    private func begin(_ session: SessionRecord, in tx: Connection) throws -> TrajectoryRecord {
        let task = try access.current(session, in: tx)
        guard task.settings["trace"]?.bool == true else {
            throw Refusal(status: 409, code: "TRACE_NOT_ENABLED", message: "This task keeps no trace.")
        }
        guard try SessionStore.lockLive(session.taskID, attempt: session.attempt, in: tx) != nil else {
            throw Refusal.staleEpoch
        }
        return try TrajectoryStore.begin(task, in: tx)
    }

    /// Returns where it was written: behind what counts, or at the start where that is gone, as after a restore of the
    /// database alone. Nil when there is no room.
    private func write(_ bytes: [UInt8], to record: TrajectoryRecord) throws -> Int64? {
        do {
            let offset = try store.count(record.key) < record.bytes ? 0 : record.bytes
            try store.write(bytes, to: record.key, at: offset)
            return offset
        } catch let error as ArtifactError where error.isFull {
            return nil
        }
    }
}
