import Crypto
import Domain
import FoundationEssentials
import HTTPTypes
import Postgres
import Store

/// Who an agent's request comes from, and whether its attempt still counts. The one place that decides both.
struct SessionAccess: Sendable {
    /// Finds the session of the request's token. Throws 401 when there is none for that scope.
    func authenticate(_ request: Request, _ scope: SessionScope, in connection: Connection) throws -> SessionRecord {
        guard let token = SessionAccess.token(request) else { throw Refusal.unauthorized }
        let hash = try SHA256.hex(token)
        guard let session = try SessionStore.authenticate(tokenHash: hash, scope: scope, in: connection) else {
            throw Refusal.unauthorized
        }
        return session
    }

    /// The task of a session that may still write: current attempt, lease not moved, task not over. Throws 410 else.
    func current(_ session: SessionRecord, in connection: Connection) throws -> TaskRecord {
        guard session.state == "claimed" || session.state == "running",
            let task = try TaskStore.load(session.taskID, in: connection), task.attempt == session.attempt,
            !task.status.isFinal
        else { throw Refusal.staleEpoch }
        return task
    }

    /// Does something on the locked task of the present attempt, whose agent is at work: so that nothing is told of a task
    /// after its end. Throws 401, and 410 when the attempt is over.
    func withTask<Result>(
        of request: Request, _ body: Fields, _ pool: Pool, _ work: (TaskRecord, Connection) throws -> Result
    ) throws -> Result {
        try pool.withConnection { connection in
            let session = try authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            return try connection.transaction { tx in
                guard let task = try TaskStore.lock(session.taskID, in: tx) else { throw Refusal.staleEpoch }
                _ = try current(session, in: tx)
                guard task.status.hasAgent else { throw Refusal.staleEpoch }
                return try work(task, tx)
            }
        }
    }

    /// The token of a request: `Bearer`, `x-api-key`, or the password of HTTP basic.
    static func token(_ request: Request) -> String? {
        if let key = request.headers["x-api-key"], !key.isEmpty { return key }
        guard let header = request.headers["Authorization"] else { return nil }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0].lowercased() {
        case "bearer": return String(parts[1])
        case "basic":
            guard let decoded = Data(base64Encoded: String(parts[1])) else { return nil }
            let text = String(decoding: decoded, as: UTF8.self)
            guard let colon = text.firstIndex(of: ":") else { return nil }
            return String(text[text.index(after: colon)...])
        default: return nil
        }
    }
}
