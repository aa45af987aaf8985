import Artifacts
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What a task's agent said and did, whole: a link for those who may see the task, and the file for those with the link.
struct TraceRoutes: Sendable {
    let pool: Pool
    let store: any ArtifactStore
    let links: SignedLinks
    /// How clients reach the gateway, without a slash at the end; nil = links are relative to it.
    let publicURL: String?

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/trace",
                summary: "A link to all that a task's agent said and did, good for 15 minutes",
                answers: [(200, .traceLink)], refusals: [404], handle: link),
            Endpoint(
                method: "GET", pattern: "/v1/traces/{task_id}",
                summary: "A trace, as gzip of JSON lines, for whoever has its link", access: .open, answers: [],
                file: "application/gzip", refusals: [403, 404], query: { _ = Self.proof(&$0) }, handle: download),
        ]
    }

    private struct Proof {
        let expires: String?
        let signature: String?
    }

    private static func proof(_ query: inout QueryReader) -> Proof {
        Proof(
            expires: query.value("expires", ["type": "string"], "as the link has it", "must be text") { $0 },
            signature: query.value("signature", ["type": "string"], "as the link has it", "must be text") { $0 })
    }

    private static let none = APIError(
        404, "TRACE_NOT_AVAILABLE",
        "there is no trace: the task was not submitted with one, its agent has not begun, or its time is over")

    private static func path(_ task: TaskID) -> String { "/v1/traces/\(task)" }

    @Sendable private func link(_ call: Call) throws -> Reply {
        let id = try call.taskID()
        let caller = try call.principal()
        _ = try call.query { _ in }
        let found = try pool.withConnection { connection in
            guard let standing = try GrantStore.standing(of: caller.userID, to: id, in: connection) else {
                throw APIError.taskNotFound
            }
            try caller.require(.readTask, .task(standing))
            return try TrajectoryStore.find(id, in: connection)
        }
        guard let found else { throw Self.none }
        let path = Self.path(id)
        let link = try links.sign(path)
        return .response(
            Answer.data { writer in
                writer.object { writer in
                    writer.member("url", "\(publicURL ?? "")\(path)?\(link.query)")
                    writer.member("expires_at", link.expiresAt)
                    writer.member("bytes", found.bytes)
                    writer.member("truncated", found.isTruncated)
                    writer.member("complete", found.isComplete)
                }
            })
    }

    /// Sends what the row speaks of: a part that is being written meanwhile is none of it.
    @Sendable private func download(_ call: Call) throws -> Reply {
        let id = try call.taskID()
        let proof = try call.query { Self.proof(&$0) }
        try links.check(Self.path(id), expires: proof.expires, signature: proof.signature)
        guard let found = try pool.withConnection({ try TrajectoryStore.find(id, in: $0) }) else { throw Self.none }
        guard let object = try store.open(found.key), try object.count() >= found.bytes else {
            // Told to the log: a task without a trace looks different.
            throw ArtifactError(
                description: "\(found.key) is not all there; do gateway and agent gateway share BGAGENT_ARTIFACTS?")
        }
        return .stream(
            status: 200,
            headers: [
                "Content-Type": "application/gzip", "Content-Length": "\(found.bytes)",
                "Content-Disposition": "attachment; filename=\"\(id).jsonl.gz\"", "Cache-Control": "no-store",
            ],
            reader: ObjectReader(object, count: found.bytes))
    }
}

/// The first bytes of an object, as the body of an answer.
private final class ObjectReader: BodyReader {
    private let object: any ArtifactReader
    private let count: Int64
    // Read by one thread at a time.
    nonisolated(unsafe) private var position: Int64 = 0

    init(_ object: any ArtifactReader, count: Int64) {
        self.object = object
        self.count = count
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let room = Int(min(Int64(buffer.count), count - position))
        guard room > 0 else { return 0 }
        let taken = try object.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<room]), at: position)
        position += Int64(taken)
        return taken
    }

    func close() {}
}
