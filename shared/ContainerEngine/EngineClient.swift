import Domain
import FoundationEssentials
import HTTPClient
import HTTPTypes
import Threads

/// Speaks to a container engine: Docker's API, over a unix socket or TCP.
///
/// Calls block and have a deadline; for threads that may. Knows nothing of sandboxes.
package final class EngineClient: Sendable {
    /// The newest version of the API that is spoken here, and the oldest that is enough.
    package static let newest = APIVersion(major: 1, minor: 45)
    package static let oldest = APIVersion(major: 1, minor: 41)

    package let address: EngineAddress
    private let http: HTTPClient
    private let timeout: Duration
    private let version = Lock<APIVersion?>(nil)

    /// - Parameter timeout: for one call, from the connect to the last byte.
    package init(_ address: EngineAddress, timeout: Duration = .seconds(30)) {
        self.address = address
        self.timeout = timeout
        http = HTTPClient(HTTPClient.Options(name: "engine"))
    }

    /// Calls and returns the answer's document; null for an empty one, and a text where it is not JSON: podman says OK
    /// to some calls.
    ///
    /// - Throws: `EngineError`.
    @discardableResult
    package func call(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil
    ) throws -> JSONValue {
        let bytes = try raw(method, path, query: query, body: body)
        if bytes.isEmpty { return .null }
        return (try? JSONText.decode(bytes: bytes)) ?? .string(String(decoding: bytes.prefix(1000), as: UTF8.self))
    }

    /// Calls and returns the answer's bytes.
    ///
    /// - Throws: `EngineError`.
    package func raw(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil
    ) throws -> [UInt8] {
        let version = try negotiated()
        return try send(request(method, "/v\(version)\(path)", query, body)).body
    }

    /// Calls and returns the answer with its body still to be read.
    ///
    /// - Throws: `EngineError`.
    package func stream(_ method: String, _ path: String, query: [(String, String)] = []) throws -> StreamingResponse {
        let version = try negotiated()
        var request = request(method, "/v\(version)\(path)", query, nil)
        request.timeout = .zero
        request.idleTimeout = timeout
        do {
            let response = try http.stream(request)
            guard response.status < 300 else {
                var body: [UInt8] = []
                while body.count < 64 << 10, let part = try response.read() { body += part }
                response.close()
                throw EngineError(status: response.status, message: Self.message(body))
            }
            return response
        } catch let failure as HTTPClientError {
            throw EngineError(failure, at: address)
        }
    }

    /// Calls and hands on the answer's bytes as they come.
    ///
    /// - Throws: `EngineError`, and what `take` throws.
    package func parts(
        _ method: String, _ path: String, query: [(String, String)] = [], _ take: ([UInt8]) throws -> Void
    ) throws {
        let response = try stream(method, path, query: query)
        defer { response.close() }
        while true {
            let part: [UInt8]?
            do { part = try response.read() } catch let failure as HTTPClientError {
                throw EngineError(failure, at: address)
            }
            guard let part else { return }
            try take(part)
        }
    }

    /// The engine's own word about itself, from its one call without a version.
    ///
    /// - Throws: `EngineError`.
    package func about() throws -> JSONValue {
        let response = try send(request("GET", "/version", [], nil))
        guard let about = try? JSONText.decode(JSONValue.self, bytes: response.body) else {
            throw EngineError(.other, "\(address) answers, but not as a container engine does.")
        }
        return about
    }

    /// The version of the API that both sides speak, asked for once.
    private func negotiated() throws -> APIVersion {
        if let known = version.withLock({ $0 }) { return known }
        let about = try about()
        guard let offered = about["ApiVersion"]?.string.flatMap(APIVersion.init), offered >= Self.oldest else {
            throw EngineError(
                .other,
                "The container engine at \(address) speaks API \(about["ApiVersion"]?.string ?? "of no version"); "
                    + "\(Self.oldest) or newer is needed (Docker 20.10, podman 4).")
        }
        let chosen = min(offered, Self.newest)
        version.withLock { $0 = chosen }
        return chosen
    }

    private func send(_ request: ClientRequest) throws -> ClientResponse {
        do {
            let response = try http.sendBlocking(request)
            guard response.status < 300 || response.status == 304 else {
                // An engine that was replaced meanwhile may speak another version.
                if response.status == 400 { version.withLock { $0 = nil } }
                throw EngineError(status: response.status, message: Self.message(response.body))
            }
            return response
        } catch let failure as HTTPClientError {
            version.withLock { $0 = nil }
            throw EngineError(failure, at: address)
        }
    }

    private func request(
        _ method: String, _ path: String, _ query: [(String, String)], _ body: JSONValue?
    ) -> ClientRequest {
        let question = query.isEmpty ? "" : "?\(Percent.encodeQuery(query))"
        var request = ClientRequest(
            method: method, url: "\(address.base)\(path)\(question)", timeout: timeout, maxResponseBytes: 64 << 20)
        request.unixSocket = address.unixSocket
        if let body {
            request.headers["Content-Type"] = "application/json"
            request.body = Array(body.text.utf8)
        }
        return request
    }

    /// The engine says what is wrong in `message`; podman puts more into `cause`.
    private static func message(_ body: [UInt8]) -> String {
        let said = (try? JSONText.decode(JSONValue.self, bytes: body))?["message"]?.string
        let text = said ?? String(decoding: body.prefix(1000), as: UTF8.self)
        let words = text.split { $0.isNewline || $0 == " " }.joined(separator: " ")
        return words.isEmpty ? "no reason given" : words
    }
}

/// A version of the engine's API.
package struct APIVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let major: Int
    package let minor: Int

    package init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Reads `1.45`.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return nil }
        self.init(major: major, minor: minor)
    }

    package static func < (left: APIVersion, right: APIVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }
}
