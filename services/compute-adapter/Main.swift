import Config
import Lifecycle
import Runtime

@main
struct ComputeAdapterMain {
    static func main() async throws {
        let config = Environment.load(ComputeConfig.init)
        let runtime = try ServiceRuntime(config.service)
        let backend = ProcessBackend(
            directory: "\(config.service.dataDirectory)/sessions", command: config.command)
        let adapter = ComputeAdapter(
            config: config, backend: backend, pool: runtime.pool, tracer: runtime.tracer, log: runtime.log)
        await runtime.runAndExit([
            StartHints(amqp: try runtime.amqp(), backend: backend.name, adapter: adapter, log: runtime.log),
            Periodic("compute pass", every: config.passEvery, log: runtime.log) { await adapter.wake() },
        ])
    }
}
