import Domain
import Lifecycle
import Postgres
import Store
import Telemetry

extension Metrics {
    /// Adds what every service tells of itself: its build, its readiness, its pool, and what the kernel knows of it.
    package func addRuntime(readiness: Readiness, pool: Pool) {
        addProcess()
        gauge(
            "bgagent_build_info", "Always 1; the labels say which build runs and which schema it brings.",
            labels: ["version", "schema"]
        ).set(1, Release.version, String(Migration.all.last?.version ?? 0))
        gauges("bgagent_ready", "1 where a part of the process can work, else 0.", labels: ["part"]) {
            readiness.all.map { ([$0.name], $0.isUp ? 1 : 0) }
        }
        gauges("bgagent_pool_connections", "Connections to Postgres that are open.", labels: ["state"]) {
            let usage = pool.usage
            return [(["idle"], Double(usage.idle)), (["used"], Double(usage.open - usage.idle))]
        }
        gauge("bgagent_pool_size", "The most connections to Postgres that the process opens.").set(Double(pool.size))
        counter("bgagent_pool_exhausted_total", "Times that work waited in vain for a free connection.") {
            Double(pool.exhausted)
        }
    }
}
