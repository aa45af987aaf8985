import Domain
import Lifecycle
import Postgres
import Store
import Telemetry

/// Runs admission passes: on every wake and once a second, one running and at most one pending.
actor Admission {
    private let pool: Pool
    private let settings: OrchestratorSettings
    private let log: Logger
    private let admitted: Counter
    private var isRunning = false
    private var isPending = false

    init(pool: Pool, settings: OrchestratorSettings, log: Logger, metrics: Metrics = .process) {
        self.pool = pool
        self.settings = settings
        self.log = log
        admitted = metrics.counter("bgagent_admitted_total", "Tasks that were given a slot")
    }

    /// Asks for a pass. Many asks while one runs are one more pass.
    func wake() {
        if isRunning {
            isPending = true
            return
        }
        isRunning = true
        Task { await self.work() }
    }

    private func work() async {
        repeat {
            isPending = false
            do {
                let (slots, silence) = (settings.userSlots, settings.nodeSilenceSeconds)
                let count = try await pool.transaction {
                    try AdmissionStore.pass(userSlots: slots, nodeSilence: silence, in: $0)
                }
                // Many were waiting to be told: the next short pass follows at once.
                if count.queued >= AdmissionStore.queuedPerPass { isPending = true }
                if count.admitted > 0 { admitted.increment(by: Double(count.admitted)) }
                if count.admitted + count.queued > 0 {
                    log.info("admission pass", ["admitted": count.admitted, "queued": count.queued])
                }
            } catch {
                // The tick comes again in a second; nothing was half done.
                log.warning("admission pass failed", ["error": "\(error)"])
            }
        } while isPending
        isRunning = false
    }
}
