import Lifecycle
import Postgres
import Store
import Telemetry

/// How much waits in the outbox, for operators: a number that grows means that the broker or the relay is away.
struct OutboxGauge: Sendable {
    let pool: Pool
    let log: Logger

    var service: Periodic {
        let metrics = Metrics.process
        let rows = metrics.gauge("bgagent_outbox_rows", "Messages that wait to be published")
        let age = metrics.gauge("bgagent_outbox_age_seconds", "Age of the oldest message that waits")
        let pool = self.pool
        return Periodic("outbox gauge", every: .seconds(5), log: log) {
            let backlog = try await pool.run { try OutboxStore.backlog(in: $0) }
            rows.set(Double(backlog.count))
            age.set(backlog.oldestSeconds)
        }
    }
}
