import Domain
import HTTPServer
import HTTPTypes
import Store

/// One route with all that the API's description says of it: the router and `/v1/openapi.json` are made of the same
/// list.
struct Endpoint: Sendable {
    /// Who comes in.
    enum Access: Sendable {
        /// Anybody.
        case open
        /// Whoever bears a token.
        case user
        /// Whoever bears a token, which the handler looks up with its own work, to save a round trip.
        case userByHandler
    }

    let method: String
    /// As the router takes it.
    let pattern: String
    let summary: String
    var access = Access.user
    /// Statuses of success with the schema of their `data`.
    let answers: [(status: Int, schema: Schema)]
    /// The media type of what is sent with 200 where that is a file; then there are no other answers.
    var file: String?
    /// Codes of refusals beyond those that every route has.
    var refusals: [Int] = []
    var query: @Sendable (inout QueryReader) -> Void = { _ in }
    var body: (@Sendable (inout FieldReader) -> Void)?
    var isPatch: Bool { method == "PATCH" }
    let handle: @Sendable (Call) throws -> Reply
}

/// One request on its way through an endpoint.
struct Call: Sendable {
    let request: Request
    /// Who asks; nil where the endpoint does not look.
    let caller: Principal?

    /// Who asks. Throws 401 where nobody was looked up.
    func principal() throws -> Principal {
        guard let caller else { throw APIError.unauthorized }
        return caller
    }

    /// Reads the query and throws all that is wrong with it.
    func query<Value>(_ read: (inout QueryReader) -> Value) throws -> Value {
        var reader = QueryReader(request.query)
        let value = read(&reader)
        try reader.finish()
        return value
    }

    /// The body as JSON. Throws 415 and 400.
    func json() throws -> JSONValue {
        let bytes = try request.body.load()
        guard !bytes.isEmpty else { throw APIError.invalid("the body is missing; send a JSON object") }
        let type = request.headers["Content-Type"].map { $0.prefix { $0 != ";" } } ?? ""
        guard Headers.sameName(String(type.filter { $0 != " " }), "application/json") else {
            throw APIError(415, "UNSUPPORTED_MEDIA_TYPE", "send the body as Content-Type: application/json")
        }
        do {
            return try JSONReader.read(bytes)
        } catch {
            throw APIError.invalid(
                "the body is no JSON: \(error.problem) at line \(error.line), column \(error.column)")
        }
    }

    /// Reads the body's fields and throws all that is wrong with them.
    func fields<Value>(isPatch: Bool = false, _ read: (inout FieldReader) -> Value) throws -> Value {
        var reader = FieldReader(try json(), isPatch: isPatch)
        let value = read(&reader)
        try reader.finish()
        return value
    }

    func path(_ name: String) -> String { request.pathParameters[name] ?? "" }

    /// The task that the path names. What is no id is no task.
    func taskID() throws -> TaskID {
        guard let id = TaskID(rawValue: path("task_id")) else { throw APIError.taskNotFound }
        return id
    }

    /// The repository that the path names.
    func repo() throws -> RepoName {
        guard let repo = RepoName(owner: path("owner"), name: path("name")) else { throw APIError.repoNotFound }
        return repo
    }
}

extension APIError {
    static let repoNotFound = APIError(404, "REPO_NOT_FOUND", "there is no such repository here")
    static let userNotFound = APIError(404, "USER_NOT_FOUND", "there is no such user")
    static let tokenNotFound = APIError(404, "TOKEN_NOT_FOUND", "there is no such token")
}
