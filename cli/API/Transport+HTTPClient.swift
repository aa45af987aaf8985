import HTTPClient
import HTTPTypes
import Threads

extension Transport {
    /// The real way: libcurl, certificates checked, no redirects. A proxy of the environment is used, except to this
    /// machine itself, where a proxy elsewhere could reach nothing.
    package static func network() -> Transport {
        // One for each authority, which is one in all but a configure that names another.
        let clients = Lock<[String: HTTPClient]>([:])
        return Transport { call in
            let http = clients.withLock { clients in
                let known = clients[call.caFile ?? ""]
                let options = HTTPClient.Options(
                    name: "bgagent", threads: 1, userAgent: "bgagent/\(Help.version)", caFile: call.caFile)
                let client = known ?? HTTPClient(options)
                clients[call.caFile ?? ""] = client
                return client
            }
            var request = ClientRequest(
                method: call.method, url: call.url, headers: call.headers, body: call.body, timeout: call.timeout,
                connectTimeout: .seconds(5), maxResponseBytes: 64 << 20)
            request.proxy = isLocal(request.origin) ? .none : .environment
            do {
                let response = try await http.send(request)
                return Response(status: response.status, headers: response.headers, body: response.body)
            } catch let error as HTTPClientError {
                throw try meaning(error)
            }
        }
    }

    private static func isLocal(_ origin: String) -> Bool {
        ["://127.", "://localhost", "://[::1]"].contains { origin.contains($0) }
    }

    /// - Throws: `CancellationError` for a cancelled call, which is no failure of the transport.
    private static func meaning(_ error: HTTPClientError) throws -> TransportError {
        switch error.code {
        case .cancelled: throw CancellationError()
        case .connect(.refused): return .unreachable("connection refused")
        case .connect(.unresolved): return .unreachable("its name is not known")
        case .connect(.unreachable): return .unreachable(error.reason)
        default:
            guard error.isRetryable else { return .unusable(error.reason) }
            return error.mayHaveReachedServer ? .lost(error.reason) : .unreachable(error.reason)
        }
    }
}
