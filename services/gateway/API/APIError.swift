import HTTPTypes

/// A refusal as the contract words it: status, stable code, and a sentence that says what to change.
struct APIError: Error, Sendable {
    let status: Int
    let code: String
    let message: String
    var headers: Headers = []

    init(_ status: Int, _ code: String, _ message: String, headers: Headers = []) {
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
    }

    /// 400: names every field that is wrong.
    static func invalid(_ message: String) -> APIError { APIError(400, "VALIDATION_ERROR", message) }

    static let unauthorized = APIError(
        401, "UNAUTHORIZED", "send a valid API token as 'Authorization: Bearer …'",
        headers: ["WWW-Authenticate": "Bearer"])

    static func forbidden(_ message: String) -> APIError { APIError(403, "FORBIDDEN", message) }

    static let taskNotFound = APIError(404, "TASK_NOT_FOUND", "there is no such task")

    static func notFound(_ code: String, _ message: String) -> APIError { APIError(404, code, message) }

    static func conflict(_ code: String, _ message: String) -> APIError { APIError(409, code, message) }

    /// 422: the contract knows the field, and nothing of this version reads it.
    static func notSupportedYet(_ names: [String]) -> APIError {
        let verb = names.count == 1 ? "is" : "are"
        return APIError(422, "NOT_SUPPORTED_YET", "\(names.joined(separator: ", ")) \(verb) not supported yet")
    }

    /// 429, with the seconds after which another try makes sense.
    static func limited(_ message: String, retryAfter: Int) -> APIError {
        APIError(429, "RATE_LIMIT_EXCEEDED", message, headers: ["Retry-After": "\(retryAfter)"])
    }

    static let unavailable = APIError(
        503, "SERVICE_UNAVAILABLE", "the database is busy or away; try again in a moment", headers: ["Retry-After": "1"]
    )

    static let internalError = APIError(
        500, "INTERNAL_ERROR", "something went wrong here; the gateway's log tells more under the request id")
}
