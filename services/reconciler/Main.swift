import Config
import Lifecycle
import Postgres
import Runtime
import Store
import Telemetry

@main
struct Reconciler {
    static func main() async throws {
        let config = Environment.load(ReconcilerConfig.init)
        let runtime = try ServiceRuntime(config.service)
        let (pool, log) = (runtime.pool, runtime.log)
        let lock = try runtime.locks()
        let leases = LeaseSweep(pool: pool, lease: config.lease, log: log)
        let retention = RetentionSweep(pool: pool, retention: config.retention, log: log)
        let slots = SlotSweep(pool: pool, log: log)
        let stranded = StrandedSweep(pool: pool, config: config, log: log)
        let gauges = PlatformGauges(
            pool: pool, userSlots: config.userSlots, nodeSilence: config.nodeSilence,
            freshFor: config.gaugesEvery * 3 + .seconds(5))
        let counts = SweepMetrics()
        Metrics.process.gauge("bgagent_leader", "1 in the reconciler that does the work, 0 in those that stand by.") {
            lock.isHeld(Leadership.key) ? 1 : 0
        }
        await runtime.runAndExit([
            LeaderSweep(name: "timers", interval: .seconds(1), lock: lock, log: log) {
                counts.fired(try await pool.transaction { try TimerStore.fire(limit: 500, in: $0) }.count)
            },
            LeaderSweep(name: "leases", interval: config.leaseCheck, lock: lock, log: log) {
                counts.lost(try await leases.runOnce())
            },
            LeaderSweep(name: "stranded", interval: config.strandedCheck, lock: lock, log: log) {
                counts.swept(try await stranded.runOnce())
            },
            LeaderSweep(name: "gauges", interval: config.gaugesEvery, lock: lock, log: log) {
                try await gauges.runOnce()
            },
            LeaderSweep(name: "slots", interval: config.recountEvery, lock: lock, log: log) {
                try await slots.runOnce()
            },
            LeaderSweep(name: "retention", interval: config.retentionEvery, lock: lock, log: log) {
                try await retention.runOnce()
            },
        ])
    }
}
