import Config
import Lifecycle
import Runtime

@main
struct ComputeAdapterMain {
    static func main() async throws {
        let config = Environment.load(ComputeConfig.init)
        let runtime = try ServiceRuntime(config.service)
        let backend = config.makeBackend()
        let adapter = try ComputeAdapter(
            config: config, backend: backend, pool: runtime.pool, readiness: runtime.readiness, tracer: runtime.tracer,
            log: runtime.log)
        let data = config.service.dataDirectory
        runtime.checks.add { await adapter.check() + [DiskSpace.check(data)] }
        await runtime.runAndExit([
            StartHints(amqp: try runtime.amqp(), backend: backend.name, adapter: adapter, log: runtime.log),
            Periodic("compute pass", every: config.passEvery, log: runtime.log) { await adapter.wake() },
        ])
    }
}

extension ComputeConfig {
    /// The backend that was chosen.
    func makeBackend() -> any ComputeBackend {
        let directory = "\(service.dataDirectory)/sessions"
        if backend == "container" { return ContainerBackend(container, node: node, directory: directory) }
        return ProcessBackend(directory: directory, command: command)
    }
}
