import Artifacts
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Threads

/// Takes the trajectory of an attempt, part by part, so that a crash loses no more than its last seconds. A part is a
/// gzip member of its own; one behind the other they are a gzip file.
struct TrajectoryRoutes: Sendable {
    /// Of one task, as stored.
    static let limit: Int64 = 50 << 20
    private static let largestPart = 4 << 20

    let pool: Pool
    let access: SessionAccess
    let store: any ArtifactStore

    func add(to router: inout Router) {
        router.on("POST", "/session/trace", maxBody: Self.largestPart) { try take($0) }
    }

    /// A repeated part is taken once: the row says how many there are, and bytes behind them are written over.
    private func take(_ request: Request) throws -> Reply {
        try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            guard let part = request.queryValue("part").flatMap({ Int($0) }), part > 0 else {
                throw Refusal.invalid("part: must be a number from 1")
            }
            let bytes = try request.body.load()
            guard bytes.starts(with: [0x1F, 0x8B]) else { throw Refusal.invalid("the body: must be a gzip member") }
            let stored = try connection.transaction { try take(bytes, part, session, request, in: $0) }
            guard let stored else {
                throw Refusal(status: 413, code: "TRACE_FULL", message: "No more of this task's trace is kept.")
            }
            return Answers.data(["part": JSONValue(part), "bytes": .integer(stored)])
        }
    }

    /// Returns how much is stored; nil when there is no room for the part. The file is written under the session's lock,
    /// which keeps a second copy of the request and an older attempt out.
    private func take(
        _ bytes: [UInt8], _ part: Int, _ session: SessionRecord, _ request: Request, in tx: Connection
    ) throws -> Int64? {
        let task = try access.current(session, in: tx)
        guard try SessionStore.lockLive(session.taskID, attempt: session.attempt, in: tx) != nil else {
            throw Refusal.staleEpoch
        }
        guard task.settings["trace"]?.bool == true else {
            throw Refusal(status: 409, code: "TRACE_NOT_ENABLED", message: "This task keeps no trace.")
        }
        let record = try TrajectoryStore.lock(task, in: tx)
        if part <= record.part { return record.bytes }
        guard part == record.part + 1 else {
            throw Refusal(
                status: 409, code: "TRACE_GAP", message: "Send part \(record.part + 1).",
                details: ["expected": JSONValue(record.part + 1)])
        }
        guard record.bytes + Int64(bytes.count) <= Self.limit else {
            try TrajectoryStore.truncate(task.id, in: tx)
            return nil
        }
        try store.write(bytes, to: record.key, at: record.bytes)
        return try TrajectoryStore.advance(
            record, by: bytes.count, isTruncated: request.queryValue("truncated") == "true",
            isComplete: request.queryValue("final") == "true", in: tx
        ).bytes
    }
}

/// Removes trajectories that nothing was added to for a while. A crash leaves the rest to the next pass.
struct TrajectorySweep: Sendable {
    private static let batch = 100

    let pool: Pool
    let store: any ArtifactStore
    let keep: Duration

    /// Returns how many were removed.
    @discardableResult
    func runOnce() async throws -> Int {
        let seconds = keep.inSeconds
        var removed = 0
        while true {
            let found = try await pool.run {
                try TrajectoryStore.expired(afterSeconds: seconds, limit: Self.batch, in: $0)
            }
            var gone = 0
            for record in found {
                let isGone = try await pool.transaction { tx in
                    try TrajectoryStore.remove(record.taskID, afterSeconds: seconds, in: tx) { try store.remove($0) }
                }
                if isGone { gone += 1 }
            }
            removed += gone
            if gone < Self.batch { return removed }
        }
    }
}
