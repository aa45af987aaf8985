import Crypto
import HTTPServer
import HTTPTypes
import Telemetry
import Threads

/// Everything about passwords that takes long: hashes run here, on threads of their own, while the connection is
/// suspended. At most as many at once as there are threads, because each takes tens of megabytes; some more may wait.
final class PasswordWork: Sendable {
    /// Requests that may wait for each thread.
    private static let waiting = 8
    /// How long a request may take with its wait.
    private static let patience = Duration.seconds(20)

    let cost: PasswordHash.Cost
    private let limit: Int
    private let threads: IOThreads
    private let log: Logger
    private let inside = Lock(0)
    /// What is checked where there is no password, so that a refusal costs the same whoever is meant.
    private let decoy: String
    private let checks: Counter

    /// - Throws: `CryptoError` when the library cannot work.
    init(atOnce: Int, cost: PasswordHash.Cost, metrics: Metrics, log: Logger) throws {
        self.cost = cost
        checks = metrics.counter(
            "bgagent_password_checks_total", "Passwords that were hashed to be compared, decoys included.")
        self.log = log
        limit = atOnce * (1 + Self.waiting)
        threads = IOThreads(name: "password", count: atOnce)
        decoy = try PasswordHash.make(try Random.token(bytes: 24), cost: cost)
    }

    /// Runs `body` on one of the threads and answers with what it returns. Throws 503 when too many wait already.
    func reply(_ request: Request, _ body: @escaping @Sendable () throws -> Response) throws -> Reply {
        let isIn = inside.withLock { inside in
            guard inside < limit else { return false }
            inside += 1
            return true
        }
        guard isIn else {
            throw APIError(
                503, "SERVICE_UNAVAILABLE", "too many passwords are being checked; try again in a moment",
                headers: ["Retry-After": "2"])
        }
        return .later(timeout: Self.patience, isWork: true) { [self] responder in
            let isAccepted = threads.submit { [self] in
                defer { leave() }
                // Nobody waits for it any more: the client left, or its time is up.
                guard !responder.isOver else { return }
                responder.send(answer(request, body))
            }
            guard !isAccepted else { return }
            leave()
            responder.send(Answer.error(.unavailable, request))
        }
    }

    /// Whether it is the password; the same work when there is none. Blocks: for `reply`'s body.
    func verify(_ password: String, against hash: String?) throws -> Bool {
        checks.increment()
        let isRight = try PasswordHash.verify(password, against: hash ?? decoy)
        return isRight && hash != nil
    }

    /// Blocks: for `reply`'s body.
    func hash(_ password: String) throws -> String { try PasswordHash.make(password, cost: cost) }

    /// Does what nobody waits for.
    func later(_ what: String, _ body: @escaping @Sendable () throws -> Void) {
        threads.submit { [log] in
            do { try body() } catch { log.warning("\(what) failed", ["error": "\(error)"]) }
        }
    }

    private func leave() { inside.withLock { $0 -= 1 } }

    private func answer(_ request: Request, _ body: () throws -> Response) -> Response {
        do {
            return try body()
        } catch {
            let response = Answer.failure(.thrown(error), request)
            if response.status >= 500 {
                log.error(
                    "a request failed", ["route": request.route, "request_id": request.id, "error": "\(error)"])
            }
            return response
        }
    }
}
