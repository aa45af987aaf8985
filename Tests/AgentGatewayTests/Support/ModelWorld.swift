import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Store
import Telemetry
import Testing
import Threads

@testable import AgentGateway

/// A model's API on the loopback that answers as the test says, and remembers what it was asked.
final class FakeModel: Sendable {
    private let server: Server
    private let seen = Lock<[Request]>([])

    /// Starts to listen; the test ends it with `stop`.
    init(_ answer: @escaping @Sendable (Request) throws -> Reply) throws {
        var router = Router()
        let seen = seen
        let handler: Router.Handler = { request in
            seen.withLock { $0.append(request) }
            return try answer(request)
        }
        router.on("POST", "/v1/messages", maxBody: 64 << 20, handler)
        router.on("POST", "/v1/messages/count_tokens", handler)
        server = try Server(ServerConfig(mode: .threadPerConnection), router, log: .silent)
        try server.start()
    }

    var url: String { "http://127.0.0.1:\(server.port)" }
    var requests: [Request] { seen.withLock { $0 } }
    var bodies: [[UInt8]] { get throws { try requests.map { try $0.body.load() } } }

    func stop() async throws { try await onThread { self.server.stop() } }
}

/// Bytes that a test hands out one part at a time.
final class Source: BodyReader {
    struct Broken: Error {}
    private let parts = BlockingQueue<Result<[UInt8], Broken>>()
    private let rest = Lock<[UInt8]>([])

    init(_ text: String = "", ends: Bool = false) {
        if !text.isEmpty { put(text) }
        if ends { end() }
    }

    func put(_ text: String) { parts.put(.success(Array(text.utf8))) }
    func fail() { parts.put(.failure(Broken())) }
    func end() { parts.close() }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var part = rest.withLock { $0 }
        if part.isEmpty {
            guard case .item(let result) = parts.take() else { return 0 }
            part = try result.get()
        }
        let count = min(part.count, buffer.count)
        buffer.copyBytes(from: part.prefix(count))
        let left = Array(part.dropFirst(count))
        rest.withLock { $0 = left }
        return count
    }

    func close() {}
    func cancel() { fail() }
}

/// What the model's API says.
enum Said {
    static let headers: Headers = ["Content-Type": "text/event-stream; charset=utf-8", "request-id": "req_1"]

    static func stream(_ text: String) -> Reply {
        .stream(status: 200, headers: headers, reader: Source(text, ends: true))
    }

    /// Costs 8,100 millionths of a dollar at the price of claude-sonnet-4: 3,000 + 750 + 1,800 + 1,500 + 1,050.
    static let whole = start + delta("Hello") + end(output: 70)

    static let start = event(
        "message_start",
        #"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","#
            + #""model":"claude-sonnet-4-5-20250929","content":[],"usage":{"input_tokens":1000,"output_tokens":1,"#
            + #""cache_creation_input_tokens":500,"cache_read_input_tokens":5000,"cache_creation":"#
            + #"{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":300}}}}"#)

    static func delta(_ text: String) -> String {
        event(
            "content_block_delta",
            #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\#(text)"}}"#)
    }

    static func end(output: Int) -> String {
        event(
            "message_delta",
            #"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":\#(output)}}"#)
            + event("message_stop", #"{"type":"message_stop"}"#)
    }

    static func event(_ name: String, _ data: String) -> String { "event: \(name)\ndata: \(data)\n\n" }
}

extension Bench {
    static let prompt =
        #"{"model":"claude-sonnet-4-5","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#
    static let clientHeaders: Headers = [
        "Content-Type": "application/json", "anthropic-version": "2023-06-01", "anthropic-beta": "one,two",
        "User-Agent": "claude-cli/2.1.329 (external, sdk-py)",
    ]

    /// One request to the model as the agent's client sends it.
    func ask(
        _ body: String = prompt, token: String? = nil, path: String = "/model/v1/messages?beta=true"
    ) async throws -> ClientResponse {
        try await call("POST", path, token: token ?? self.token(.model), headers: Bench.clientHeaders, body)
    }

    /// The same, to be read part by part on the calling thread.
    func open(_ body: String = prompt) throws -> StreamingResponse {
        var request = ClientRequest(
            method: "POST", url: "\(url)/model/v1/messages?beta=true", headers: Bench.clientHeaders,
            body: Array(body.utf8), timeout: .seconds(60))
        request.headers.append((name: "Authorization", value: "Bearer \(token(.model))"))
        return try Bench.client.stream(request)
    }

    /// A bench in front of a model.
    static func with(
        model: FakeModel, _ options: Options = Options(), _ body: @escaping @Sendable (Bench) async throws -> Void
    ) async throws {
        var options = options
        options.variables["BGAGENT_MODEL_URL"] = model.url
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await Bench.with(options, body))
        } catch {
            outcome = .failure(error)
        }
        try await model.stop()
        try outcome.get()
    }
}

extension ClientResponse {
    /// The kind of a refusal in the words of the model's API.
    var errorType: String? {
        guard let body = try? JSONText.decode(JSONValue.self, bytes: body), body["type"]?.string == "error" else {
            return nil
        }
        return body["error"]?["type"]?.string
    }
}
