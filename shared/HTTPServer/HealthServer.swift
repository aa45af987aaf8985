import HTTPTypes
import Lifecycle
import Telemetry

/// `/live`, `/ready` and `/metrics` on a port of their own, apart from the work's threads.
package final class HealthServer: Service {
    package let name = "health"
    private let server: Server

    /// Binds the port; 0 takes a free one.
    ///
    /// - Throws: `ServerError`.
    package init(
        host: String = "127.0.0.1", port: Int, readiness: Readiness, metrics: Metrics = .process, log: Logger
    ) throws {
        var config = ServerConfig(host: host, port: port, threads: 1)
        config.maxBody = 0
        config.connectionLimit = 64
        config.connectionMemory = 8 << 10
        server = try Server(config, Self.routes(readiness, metrics), name: name, log: log)
    }

    /// The port it listens on.
    package var port: Int {
        server.port
    }

    package func run() async throws {
        try await server.run()
    }

    /// The same routes for a server that is there anyway.
    package static func routes(_ readiness: Readiness, _ metrics: Metrics) -> Router {
        var router = Router()
        router.on("GET", "/live") { _ in .response(.text("ok\n")) }
        router.on("GET", "/ready") { _ in
            let missing = readiness.missing
            if missing.isEmpty { return .response(.text("ok\n")) }
            return .response(.text("not ready: \(missing.joined(separator: ", "))\n", status: 503))
        }
        router.on("GET", "/metrics") { _ in
            let type: Headers = ["Content-Type": "text/plain; version=0.0.4; charset=utf-8"]
            return .response(Response(status: 200, headers: type, body: Array(metrics.exposition().utf8)))
        }
        return router
    }
}
