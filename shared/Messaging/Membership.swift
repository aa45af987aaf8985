import Lifecycle
import Postgres
import Store
import Telemetry
import Threads

/// Keeps this process a member of its consumer and learns who the others are: one look at `consumer_members` a second,
/// and at once when it took a place.
///
/// It speaks for the process only while that has its broker: one that cannot consume is no member for longer than a
/// lease. While Postgres is away nothing is learned, so nobody moves.
final class Membership: Sendable {
    private struct Pace {
        var isConnected = false
        var isHurried = false
        var pause: Task<Void, Never>?
    }

    private let consumer: String
    private let pool: Pool
    private let lines: PartitionLines
    private let settings: ConsumerSettings
    private let log: Logger
    private let pace = Lock(Pace())
    private let ownedGauge: Gauge
    private let membersGauge: Gauge
    private let rebalances: Counter

    init(
        consumer: String, pool: Pool, lines: PartitionLines, settings: ConsumerSettings, log: Logger, metrics: Metrics
    ) {
        self.consumer = consumer
        self.pool = pool
        self.lines = lines
        self.settings = settings
        self.log = log
        ownedGauge = metrics.gauge(
            "bgagent_consumer_partitions_owned", "Partitions that this process owns", labels: ["consumer"])
        membersGauge = metrics.gauge(
            "bgagent_consumer_members", "Processes that share the partitions", labels: ["consumer"])
        rebalances = metrics.counter(
            "bgagent_consumer_rebalances_total", "Changes of what this process owns", labels: ["consumer"])
    }

    /// Looks until the task is cancelled, then leaves.
    func run() async {
        var failures = 0
        while !Task.isCancelled {
            if pace.withLock({ $0.isConnected }) {
                do {
                    try await look()
                    failures = 0
                } catch {
                    failures += 1
                    if failures == 1 {
                        log.warning("members not seen; partitions stay as they are", ["error": "\(error)"])
                    }
                }
            }
            await pause()
        }
        await leave()
    }

    /// From now on the process can consume. Learns who stands where before it takes places behind them.
    func connected() async {
        let consumer = self.consumer
        if let members = try? await pool.run({ try MemberStore.members(consumer, in: $0) }) {
            lines.learn(members, me: nil)
        }
        pace.withLock { $0.isConnected = true }
    }

    /// The process has lost its broker. Its row is kept for a lease, so that a short loss moves nothing.
    func disconnected() {
        pace.withLock { $0.isConnected = false }
    }

    /// Has the next look come at once.
    func hurry() {
        pace.withLock { pace in
            pace.isHurried = true
            pace.pause?.cancel()
        }
    }

    /// Says where this process stands, and takes in who else is there.
    func look() async throws {
        let consumer = self.consumer
        let lease = settings.memberLease.inSeconds
        let before = lines.owned
        let (me, places) = lines.standing
        let view = try await pool.transaction {
            try MemberStore.renew(consumer, member: me, places: places, leaseSeconds: lease, in: $0)
        }
        lines.learn(view.members, me: view.me)
        let owned = lines.owned
        ownedGauge.set(Double(owned.count), consumer)
        membersGauge.set(Double(view.members.count), consumer)
        if view.removed > 0 { log.warning("members gone", ["consumer": consumer, "count": view.removed]) }
        guard owned != before else { return }
        rebalances.increment(by: 1, consumer)
        log.info(
            "partitions shared out",
            [
                "consumer": consumer, "member": view.me, "members": view.members.count,
                "owned": owned.sorted().map(String.init).joined(separator: " "),
            ])
    }

    private func pause() async {
        let every = settings.lookEvery
        let pause = Task { _ = try? await Task.sleep(for: every) }
        let isHurried = pace.withLock { pace in
            defer { pace.isHurried = false }
            pace.pause = pause
            return pace.isHurried
        }
        if isHurried { pause.cancel() }
        await withTaskCancellationHandler {
            await pause.value
        } onCancel: {
            pause.cancel()
        }
        // What hurried while it slept is answered by the look that follows now.
        pace.withLock { pace in
            pace.pause = nil
            pace.isHurried = false
        }
    }

    private func leave() async {
        guard let me = lines.standing.me else { return }
        let consumer = self.consumer
        do {
            try await pool.run { try MemberStore.leave(consumer, member: me, in: $0) }
        } catch {
            log.info("left without a word; the others notice after a lease", ["error": "\(error)"])
        }
    }
}
