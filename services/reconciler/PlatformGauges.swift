import Lifecycle
import Postgres
import Store
import Telemetry
import Threads

/// What the leader tells of the whole platform at a scrape. A look that grew old tells nothing: numbers that stand
/// still look like health.
final class PlatformGauges: Sendable {
    private struct Look {
        let state: PlatformState
        let at: MonotonicTime
    }

    private let pool: Pool
    private let userSlots: Int
    private let nodeSilence: Int
    private let freshFor: Duration
    private let look = Lock<Look?>(nil)
    private let pushes: Counter
    private let cursor = Lock(PushCursor())

    /// - Parameter freshFor: how long a look is believed; well above the pause between two.
    init(pool: Pool, userSlots: Int, nodeSilence: Int, freshFor: Duration, metrics: Metrics = .process) {
        self.pool = pool
        self.userSlots = userSlots
        self.nodeSilence = nodeSilence
        self.freshFor = freshFor
        pushes = metrics.counter(
            "bgagent_git_pushes_total", "Refs that agents pushed, by what the gateway decided.", labels: ["verdict"])
        for verdict in ["accepted", "refused"] { pushes.announce(verdict) }
        addWork(to: metrics)
        addMessages(to: metrics)
        addDatabase(to: metrics)
    }

    /// Looks once.
    func runOnce() async throws {
        let (userSlots, nodeSilence, cursor) = (userSlots, nodeSilence, cursor)
        let (state, pushed) = try await pool.run { connection in
            (
                try PlatformState(userSlots: userSlots, nodeSilence: nodeSilence, in: connection),
                try cursor.withLock { try $0.advance(in: connection) }
            )
        }
        look.withLock { $0 = Look(state: state, at: .now) }
        for (verdict, count) in pushed { pushes.increment(by: Double(count), verdict) }
    }

    private func read(_ value: (PlatformState) -> [MetricSample]) -> [MetricSample] {
        guard let look = self.look.withLock({ $0 }), look.at.elapsed < freshFor else { return [] }
        return value(look.state)
    }

    private func add(
        to metrics: Metrics, _ name: String, _ help: String, _ labels: [String] = [],
        _ value: @escaping @Sendable (PlatformState) -> [MetricSample]
    ) {
        metrics.gauges(name, help, labels: labels) { [weak self] in self?.read(value) ?? [] }
    }

    private func addWork(to metrics: Metrics) {
        add(to: metrics, "bgagent_tasks", "Tasks that have not ended.", ["status"]) { $0.tasks.counts }
        add(
            to: metrics, "bgagent_tasks_oldest_seconds", "For how long the longest has been in this status.",
            ["status"]
        ) { $0.tasks.ages }
        add(to: metrics, "bgagent_slots_used", "Tasks that hold a slot of their user, their repository and a node.") {
            [([], $0.slotsUsed)]
        }
        add(to: metrics, "bgagent_places", "Tasks that the nodes which are ready can work on at once.") {
            [([], $0.places)]
        }
        add(
            to: metrics, "bgagent_nodes",
            "Compute nodes: ready, draining, or silent for too long (forgotten after a day).",
            ["state"]
        ) { $0.nodes.counts }
        add(
            to: metrics, "bgagent_users",
            "Users with tasks that wait, with tasks at work, and with all their slots taken.",
            ["state"]
        ) { $0.users.counts }
        add(
            to: metrics, "bgagent_repo_slots_used", "Tasks at work, for the repositories with the most of them.",
            ["repo"]
        ) { $0.repos.map { ([$0.repo], $0.used) } }
        add(
            to: metrics, "bgagent_repo_slots_limit", "Slots of those repositories that set a limit.", ["repo"]
        ) { $0.repos.compactMap { repo in repo.limit.map { ([repo.repo], $0) } } }
        add(to: metrics, "bgagent_sessions", "Attempts of tasks that have not ended.", ["state"]) { $0.sessions.counts }
        add(to: metrics, "bgagent_timers", "Timers that are set.") { [([], $0.timers.count)] }
        add(to: metrics, "bgagent_timers_overdue_seconds", "For how long the latest timer is overdue.") {
            [([], $0.timers.oldestSeconds)]
        }
    }

    private func addMessages(to metrics: Metrics) {
        add(to: metrics, "bgagent_outbox_rows", "Messages that wait to be published.") { [([], $0.outbox.count)] }
        add(to: metrics, "bgagent_outbox_age_seconds", "Age of the oldest message that waits to be published.") {
            [([], $0.outbox.oldestSeconds)]
        }
        add(
            to: metrics, "bgagent_effects_open",
            "Effects on the outside that are not over: notifications and pull requests.",
            ["channel", "state"]
        ) { $0.effects.counts }
        add(
            to: metrics, "bgagent_effects_oldest_seconds", "Age of the oldest effect that is not over.",
            ["channel", "state"]
        ) { $0.effects.ages }
        add(to: metrics, "bgagent_dead_letters", "Messages that were put aside and wait for a person.", ["consumer"]) {
            $0.deadLetters.counts
        }
        add(
            to: metrics, "bgagent_parked_messages",
            "Messages that wait for their turn, a retry or the missing one before them.", ["consumer"]
        ) { $0.parked.counts }
        add(to: metrics, "bgagent_parked_oldest_seconds", "Age of the oldest parked message.", ["consumer"]) {
            $0.parked.ages
        }
    }

    private func addDatabase(to metrics: Metrics) {
        add(to: metrics, "bgagent_database_bytes", "Size of the database.") { [([], $0.database.bytes)] }
        add(to: metrics, "bgagent_database_connections", "Connections to the database, of everybody.") {
            [([], $0.database.connections)]
        }
        add(to: metrics, "bgagent_database_max_connections", "Connections that the server allows.") {
            [([], $0.database.maxConnections)]
        }
        add(
            to: metrics, "bgagent_database_oldest_transaction_seconds",
            "Age of the longest transaction; while it lasts, vacuum removes nothing younger."
        ) { [([], $0.database.oldestTransactionSeconds)] }
    }
}

extension [Tally] {
    fileprivate var counts: [MetricSample] { map { ($0.of, $0.count) } }
    fileprivate var ages: [MetricSample] { map { ($0.of, $0.oldestSeconds) } }
}

/// What the sweeps did, each counted by the process that did it.
struct SweepMetrics: Sendable {
    private let leases: Counter
    private let stranded: Counter
    private let timers: Counter

    init(_ metrics: Metrics = .process) {
        leases = metrics.counter(
            "bgagent_leases_lost_total", "Attempts that were given up because their lease ran out.")
        stranded = metrics.counter(
            "bgagent_stranded_total",
            "Tasks that stood still: failed, expired in the queue, or asked to finish once more.",
            labels: ["result"])
        for result in ["failed", "expired", "revived"] { stranded.announce(result) }
        timers = metrics.counter("bgagent_timers_fired_total", "Timers that came due.")
    }

    func lost(_ count: Int) { leases.increment(by: Double(count)) }

    func swept(_ count: StrandedSweep.Count) {
        stranded.increment(by: Double(count.failed), "failed")
        stranded.increment(by: Double(count.expired), "expired")
        stranded.increment(by: Double(count.revived), "revived")
    }

    func fired(_ count: Int) { timers.increment(by: Double(count)) }
}
