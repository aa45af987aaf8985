import Domain
import HTTPServer
import HTTPTypes
import Postgres

/// Why a request of an agent is refused. The text is for whoever reads the session's log.
struct Refusal: Error, Sendable {
    let status: Int
    let code: String
    let message: String
    var details: [String: JSONValue] = [:]
    var headers: Headers = []

    static func invalid(_ message: String) -> Refusal {
        Refusal(status: 400, code: "VALIDATION_ERROR", message: message)
    }

    static let unauthorized = Refusal(
        status: 401, code: "UNAUTHORIZED", message: "The token is unknown, expired, or not for this path.")

    static let staleEpoch = Refusal(
        status: 410, code: "STALE_EPOCH", message: "This attempt is over. Stop, and change nothing.")

    static func gap(expected: Int64) -> Refusal {
        Refusal(
            status: 409, code: "SEQUENCE_GAP", message: "Send from client_seq \(expected).",
            details: ["expected": .integer(expected)])
    }

    static let unavailable = Refusal(
        status: 503, code: "SERVICE_UNAVAILABLE", message: "The platform cannot answer now. Try again.",
        headers: ["Retry-After": "1"])
}

/// The envelope of every answer.
enum Answers {
    static func data(_ value: JSONValue, status: Int = 200) -> Reply {
        .response(.json(JSONValue.object(["data": value]).text.utf8, status: status))
    }

    static func refusal(_ refusal: Refusal, _ request: Request) -> Response {
        var error: [String: JSONValue] = [
            "code": .string(refusal.code), "message": .string(refusal.message), "request_id": .string(request.id),
        ]
        error.merge(refusal.details) { own, _ in own }
        return .json(
            JSONValue.object(["error": .object(error)]).text.utf8, status: refusal.status, headers: refusal.headers)
    }

    /// The one shape of every failure, thrown or found by the server.
    static func failure(_ reason: RequestFailure, _ request: Request) -> Response {
        switch reason {
        case .notFound: refusal(Refusal(status: 404, code: "NOT_FOUND", message: "There is no such path."), request)
        case .methodNotAllowed:
            refusal(Refusal(status: 405, code: "METHOD_NOT_ALLOWED", message: "Not with this method."), request)
        case .brokenEscape: refusal(.invalid("The request cannot be read."), request)
        case .bodyTooLarge(let limit):
            refusal(
                Refusal(status: 413, code: "PAYLOAD_TOO_LARGE", message: "The body is over \(limit) bytes."), request)
        case .laterTimedOut: refusal(.unavailable, request)
        case .thrown(let error): thrown(error, request)
        }
    }

    private static func thrown(_ error: any Error, _ request: Request) -> Response {
        switch error {
        case let error as Refusal: refusal(error, request)
        case let error as PostgresError where error.isUnavailable || error.isConnectionLost || error.isRetryable:
            refusal(.unavailable, request)
        default:
            refusal(Refusal(status: 500, code: "INTERNAL_ERROR", message: "Something failed here."), request)
        }
    }
}
