import Postgres
import Store
import Telemetry

/// Compares the slot counters with the tasks. They follow each move in its own transaction, so a difference is a defect;
/// it is mended, told and counted.
struct SlotSweep: Sendable {
    private let pool: Pool
    private let drifted: Counter
    private let log: Logger

    init(pool: Pool, metrics: Metrics = .process, log: Logger) {
        self.pool = pool
        self.log = log
        drifted = metrics.counter(
            "bgagent_slot_drift_total", "Slot counters that did not agree with the tasks; each is a defect.")
    }

    /// Returns how many counters were wrong.
    @discardableResult
    func runOnce() async throws -> Int {
        let count = try await pool.transaction { try SweepStore.recountSlots(in: $0) }
        drifted.increment(by: Double(count))
        if count > 0 { log.error("slot counters had drifted; this is a defect", ["counters": count]) }
        return count
    }
}
