import Config
import ContainerEngine
import HTTPServer
import Lifecycle
import Runtime
import Telemetry

@main
struct EngineProxyMain {
    static func main() async throws {
        let config = Environment.load(ProxyConfig.init)
        let runtime = try ProcessRuntime(config.service)
        let engine = EngineClient(config.engine, timeout: config.timeout)
        let proxy = EngineProxy(rules: config.rules, engine: engine, log: runtime.log)
        Metrics.process.addProcess()
        var server = ServerConfig(host: config.host, port: config.port, mode: .threadPerConnection)
        server.connectionLimit = 64
        server.maxBody = EngineProxy.longestBody
        let readiness = runtime.readiness
        readiness.set("engine", false)
        let threads = IOThreads(name: "engine", count: 1)
        // Shorter than a stop may take: an engine that hangs must not hang the proxy's end.
        let brief = EngineClient(config.engine, timeout: min(config.timeout, .seconds(3)))
        await runtime.runAndExit([
            try Server(server, proxy.router, log: runtime.log, onAccess: Access.recorder(.process)),
            Periodic("look at the engine", every: .seconds(5), log: runtime.log) {
                do {
                    _ = try await threads.run { try brief.about() }
                    readiness.set("engine", true)
                } catch {
                    readiness.set("engine", false)
                    throw error
                }
            },
        ])
    }
}
