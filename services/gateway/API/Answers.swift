import HTTPTypes
import HTTPServer
import Postgres
import Telemetry

/// The envelopes of the contract.
enum Answer {
    /// `{"data": …}`
    static func data(
        status: Int = 200, headers: Headers = [], _ body: (inout JSONWriter) throws -> Void
    ) rethrows -> Response {
        var writer = JSONWriter()
        try writer.object { writer in
            writer.name("data")
            try body(&writer)
        }
        return .json(writer.bytes, status: status, headers: headers)
    }

    /// `{"data": [ … ], "pagination": { … }}`
    static func page(next: String?, hasMore: Bool, _ body: (inout JSONWriter) throws -> Void) rethrows -> Response {
        var writer = JSONWriter()
        try writer.object { writer in
            writer.name("data")
            try writer.array(body)
            writer.member("pagination") { writer in
                writer.member("next_token", next)
                writer.member("has_more", hasMore)
            }
        }
        return .json(writer.bytes)
    }

    /// `{"error": {code, message, request_id}}`
    static func error(_ error: APIError, _ request: Request) -> Response {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("error") { writer in
                writer.member("code", error.code)
                writer.member("message", error.message)
                writer.member("request_id", request.id)
            }
        }
        return .json(writer.bytes, status: error.status, headers: error.headers)
    }

    /// An answer that takes a while, without holding one of the server's threads meanwhile.
    ///
    /// - Parameter log: hears of what the client is told nothing about.
    static func later(
        _ request: Request, within patience: Duration, log: Logger,
        _ work: @escaping @Sendable () async throws -> Response
    ) -> Reply {
        .later(timeout: patience, isWork: true) { responder in
            let task = Task {
                do {
                    responder.send(try await work())
                } catch {
                    responder.send(failure(error, request, log))
                }
            }
            responder.whenAbandoned { task.cancel() }
        }
    }

    /// An answer made of a flight of reads that is done together with those of others: no thread of the server waits, and
    /// many answers cost one trip.
    static func read(
        _ flight: [Query], in group: FlightGroup, _ request: Request, log: Logger,
        _ answer: @escaping @Sendable ([Rows]) throws -> Response
    ) -> Reply {
        .later(timeout: .seconds(10), isWork: true) { responder in
            group.submit(flight, key: "") { result in
                do {
                    responder.send(try answer(result.get()))
                } catch {
                    responder.send(failure(error, request, log))
                }
            }
        }
    }

    /// What the client hears of an error, and the log of what the client is told nothing about.
    private static func failure(_ error: any Error, _ request: Request, _ log: Logger) -> Response {
        let response = failure(.thrown(error), request)
        if response.status == 500 {
            log.error("a request failed", ["route": request.route, "request_id": request.id, "error": "\(error)"])
        }
        return response
    }

    /// What the server answers where no handler does. Nothing of an unexpected error reaches the client.
    static func failure(_ failure: RequestFailure, _ request: Request) -> Response {
        switch failure {
        case .notFound: error(.notFound("NOT_FOUND", "there is no such route; /v1/openapi.json lists them"), request)
        case .methodNotAllowed(let allowed):
            error(
                APIError(405, "METHOD_NOT_ALLOWED", "this path takes \(allowed.joined(separator: ", "))"), request)
        case .brokenEscape: error(.invalid("the path or the query has a broken % escape"), request)
        case .bodyTooLarge(let limit):
            error(APIError(413, "PAYLOAD_TOO_LARGE", "the body is over \(limit) bytes"), request)
        // A long poll whose time is up, or whose gateway stops, simply has nothing to tell. Nothing else waits in vain.
        case .laterTimedOut:
            request.queryValue("wait") == nil
                ? error(.unavailable, request) : page(next: nil, hasMore: false) { _ in }
        case .thrown(let thrown): error(known(thrown), request)
        }
    }

    private static func known(_ thrown: any Error) -> APIError {
        switch thrown {
        case let error as APIError: error
        case let error as PostgresError where error.isUnavailable || error.isRetryable || error.sqlState == "57014":
            .unavailable
        default: .internalError
        }
    }
}
