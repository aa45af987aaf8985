import Config
import HTTPServer
import Lifecycle
import Messaging
import Postgres
import Runtime
import Store
import Telemetry
import Tracing

@main
struct Gateway {
    static func main() async throws {
        let config = Environment.load(GatewayConfig.init)
        // A handler waits for its own statement and for nothing else, and for that one second at most.
        let runtime = try ServiceRuntime(
            config.service, lockTimeout: .seconds(1), statementTimeout: .seconds(1))
        let (pool, log) = (runtime.pool, runtime.log)
        var listening = ServerConfig(host: config.host, port: config.port, threads: config.threads)
        listening.tls = try config.tls.map { try ServerTLS(certificateFile: $0.certificate, keyFile: $0.key) }
        let api = try RestAPI(
            listening, pool: pool, settings: config.settings, policyURL: config.policyURL,
            screener: config.screener, artifacts: config.artifacts, publicURL: config.publicURL, tracer: runtime.tracer,
            log: log)
        let adminToken = AdminToken(directory: config.service.dataDirectory, log: log)
        let data = config.service.dataDirectory
        runtime.checks.add { [DiskSpace.check(data)] }
        let policies = api.policies
        runtime.checks.addOutside { [await policies.look()] }
        await runtime.runAndExit([
            ServiceTask("admin token") {
                try await retrying("make the first key", log: log, isFinal: { $0 is AdminToken.NotWritten }) {
                    try await pool.run { try adminToken.ensure(on: $0) }
                }
                await untilCancelled()
            },
            WakeHints("gateway", amqp: try runtime.amqp(), log: log) { [watch = api.watch] in watch.hint($0) },
            api.watch,
            api.logWatch,
            api.server,
        ])
    }
}
