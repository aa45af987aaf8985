import Domain
import HTTPServer
import HTTPTypes
import Telemetry
import Threads

/// Takes OTLP exports over HTTP and keeps them; answers as a test wants.
package final class SpanReceiver: Sendable {
    /// What it does with an export.
    package enum Answer: Sendable, Equatable {
        case take
        case refuse(Int)
        /// Says nothing until the receiver ends.
        case hang
    }

    private struct State {
        var answer = Answer.take
        var requests = 0
        var headers = Headers()
        var exports: [JSONValue] = []
    }

    private let state = Condition(State())
    private let server: Server

    package init() throws {
        let state = self.state
        var router = Router()
        router.on("POST", "/v1/traces") { request in
            let answer = state.update { state -> Answer in
                state.requests += 1
                state.headers = request.headers
                return state.answer
            }
            switch answer {
            case .take:
                let export = try JSONText.decode(JSONValue.self, bytes: request.body.load())
                state.update { $0.exports.append(export) }
                return .response(
                    Response(status: 200, headers: ["Content-Type": "application/json"], body: [123, 125]))
            case .refuse(let status): return .response(.text("no", status: status))
            case .hang: return .later(timeout: .seconds(60)) { _ in }
            }
        }
        var config = ServerConfig()
        config.maxBody = 64 << 20
        config.drainTimeout = .milliseconds(100)
        server = try Server(config, router, log: .silent)
        try server.start()
    }

    deinit { server.stop() }

    package var url: String { "http://127.0.0.1:\(server.port)" }

    package func answer(_ answer: Answer) { state.withLock { $0.answer = answer } }

    /// Exports that came, whatever was answered.
    package var requests: Int { state.withLock { $0.requests } }
    /// Of the last export.
    package var headers: Headers { state.withLock { $0.headers } }
    /// Exports that were taken.
    package var exports: [JSONValue] { state.withLock { $0.exports } }

    /// All spans that were taken, with the service that each is of.
    package var spans: [(service: String, span: JSONValue)] {
        exports.flatMap { $0["resourceSpans"]?.array ?? [] }.flatMap { group in
            let attributes = group["resource"]?["attributes"]?.array ?? []
            let service = attributes.first { $0["key"] == "service.name" }?["value"]?["stringValue"]?.string ?? ""
            return (group["scopeSpans"]?.array ?? []).flatMap { $0["spans"]?.array ?? [] }.map { (service, $0) }
        }
    }
}
