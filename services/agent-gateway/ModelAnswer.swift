import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Postgres
import Threads

/// An answer to the agent's client in the shape of the model's API, so that the client knows what to do about it.
struct ModelRefusal: Error, Sendable {
    let status: Int
    let type: String
    let message: String
    var headers: Headers = []

    static let unauthorized = ModelRefusal(
        status: 401, type: "authentication_error", message: "The token is unknown, expired, or not for this path.")

    /// Final at once for the client.
    static let overBudget = ModelRefusal(
        status: 402, type: "budget_exhausted", message: "The budget of this task is spent.")

    static func invalid(_ message: String) -> ModelRefusal {
        ModelRefusal(status: 400, type: "invalid_request_error", message: message)
    }

    static func tooMany(_ message: String) -> ModelRefusal {
        ModelRefusal(status: 429, type: "rate_limit_error", message: message, headers: ["Retry-After": "1"])
    }

    /// The client tries again.
    static func overloaded(_ message: String) -> ModelRefusal {
        ModelRefusal(status: 529, type: "overloaded_error", message: message, headers: ["Retry-After": "1"])
    }

    var response: Response {
        let text = ModelRefusal.body(type: type, message: message)
        return .json(text.utf8, status: status, headers: headers)
    }

    private static func body(type: String, message: String) -> String {
        JSONValue.object(["type": "error", "error": ["type": .string(type), "message": .string(message)]]).text
    }

    /// What an error of any kind means to the agent. Never says where the model is, nor with which key.
    init(_ error: any Error) {
        switch error {
        case let error as ModelRefusal: self = error
        case let error as Refusal where error.status == 401 || error.status == 410: self = .unauthorized
        case let error as HTTPClientError where error.code == .timeout:
            self = .overloaded("The model did not answer in time.")
        case is HTTPClientError: self = .overloaded("The model cannot be reached now.")
        case let error as PostgresError where error.isUnavailable || error.isConnectionLost || error.isRetryable:
            self = .overloaded("The platform cannot answer now.")
        default: self.init(status: 500, type: "api_error", message: "Something failed here.")
        }
    }

    init(status: Int, type: String, message: String, headers: Headers = []) {
        self.status = status
        self.type = type
        self.message = message
        self.headers = headers
    }
}

/// The model's answer on its way to the agent: byte for byte as it comes, read along by the meter.
final class ModelStream: BodyReader {
    private struct State {
        var meter = UsageMeter()
        var isSettled = false
    }

    private let upstream: StreamingResponse
    private let settle: @Sendable (UsageMeter) -> Void
    private let state = Lock(State())

    /// - Parameter settle: called once, when the answer is whole, broke off, or nobody reads it any more.
    init(_ upstream: StreamingResponse, settle: @escaping @Sendable (UsageMeter) -> Void) {
        self.upstream = upstream
        self.settle = settle
    }

    deinit { finish() }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let count: Int
        do {
            count = try upstream.read(into: buffer)
        } catch {
            finish()
            throw error
        }
        let isWhole = state.withLock { state in
            state.meter.feed(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]))
            return state.meter.isComplete || count == 0
        }
        // Before the last bytes are handed on: the agent's next request finds this one booked.
        if isWhole { finish() }
        return count
    }

    func cancel() { upstream.cancel() }

    func close() {
        upstream.close()
        finish()
    }

    private func finish() {
        let meter: UsageMeter? = state.withLock { state in
            if state.isSettled { return nil }
            state.isSettled = true
            return state.meter
        }
        if let meter { settle(meter) }
    }
}
