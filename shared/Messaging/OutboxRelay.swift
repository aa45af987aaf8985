import AMQP
import Domain
import Lifecycle
import Threads
import Postgres
import Store
import Telemetry

/// How the relay works; the defaults are the product's.
package struct RelaySettings: Sendable {
    package var batch = 500
    /// The pause after a look that found nothing, for a second after the last message.
    package var busyPause: Duration = .milliseconds(2)
    package var idlePause: Duration = .milliseconds(20)
    /// So many in a page mean that many come. A pause makes the next page larger, and a message in a large one costs the
    /// broker and the database less.
    package var crowd = 16
    package var crowdPause: Duration = .milliseconds(10)
    /// So many pages wait for the broker's answers at once: the next is read and sent meanwhile.
    package var pagesUnderWay = 4
    /// How long a message that no queue takes, or that the broker refused, waits for its next try.
    package var holdBack: Duration = .seconds(1)

    package init() {}

    /// What comes while a page is read is the next page: few messages wait for nothing.
    func pause(after published: Int, sinceLast: Duration) -> Duration? {
        if published > 0 { return published < crowd ? nil : crowdPause }
        return sinceLast < .seconds(1) ? busyPause : idlePause
    }
}

/// The only publisher of task messages: outbox → RabbitMQ, with confirms.
///
/// Owns shards by session advisory locks; a standby takes them over when the session ends. Pages overlap, but at most one
/// unconfirmed message per stream and task is on its way, so an order that the database gave cannot be lost here. A crash
/// after a confirm and before the delete publishes again: consumers drop it by its sequence.
package final class OutboxRelay: Service {
    package let name = "relay"
    private let pool: Pool
    private let amqp: AMQPConfig
    let lock: AdvisoryLock
    let settings: RelaySettings
    private let readiness: Readiness
    let log: Logger
    let published: Counter
    let refused: Counter
    let unroutable: Counter
    private let shardsOwned: Gauge
    let state = Lock(RelayState())

    /// What one look has brought.
    private struct Look {
        var rows: [OutboxRow] = []
        /// True when rows wait behind it.
        var isFull = false
    }

    package init(
        pool: Pool, amqp: AMQPConfig, lock: AdvisoryLock, settings: RelaySettings = RelaySettings(),
        readiness: Readiness, log: Logger, metrics: Metrics = .process
    ) {
        self.pool = pool
        self.amqp = amqp
        self.lock = lock
        self.settings = settings
        self.readiness = readiness
        self.log = log
        published = metrics.counter(
            "bgagent_relay_published_total", "Messages confirmed by the broker", labels: ["stream"])
        unroutable = metrics.counter(
            "bgagent_relay_unroutable_total", "Messages that no queue took; alarm when it grows", labels: ["stream"])
        refused = metrics.counter(
            "bgagent_relay_refused_total", "Messages that the broker refused to take for now", labels: ["stream"])
        shardsOwned = metrics.gauge("bgagent_relay_shards", "Shards of the outbox that this process publishes")
        shardsOwned.set(0)
        for stream in ["commands", "events"] {
            for counter in [published, refused, unroutable] { counter.announce(stream) }
        }
        readiness.set(name, false)
    }

    package func run() async throws {
        var failures = 0
        while !Task.isCancelled {
            let began = MonotonicTime.now
            do {
                let connection = try await AMQPConnection.open(amqp)
                readiness.set(name, true)
                defer {
                    readiness.set(name, false)
                    shardsOwned.set(0)
                }
                do {
                    try await relay(connection)
                } catch {
                    await connection.close()
                    throw error
                }
                await connection.close()
            } catch {
                if Task.isCancelled { return }
                failures = began.elapsed > .seconds(5) ? 1 : failures + 1
                log.warning("relay interrupted", ["error": "\(error)"])
                try? await Task.sleep(for: Backoff(cap: .seconds(2)).delay(afterFailures: failures))
            }
        }
    }

    private func relay(_ connection: AMQPConnection) async throws {
        state.withLock { $0.failure = nil }
        try await withThrowingTaskGroup(of: Void.self) { pages in
            var lastRow = MonotonicTime(nanoseconds: 0)
            var shards: [Int] = []
            var session: Int32?
            var looked = MonotonicTime(nanoseconds: 0)
            var pagesUnderWay = 0
            func settle(downTo most: Int) async throws {
                while pagesUnderWay > most {
                    try await pages.next()
                    pagesUnderWay -= 1
                }
                if let failure = state.withLock({ $0.failure }) { throw failure }
            }
            while !Task.isCancelled {
                if looked.elapsed > (shards.isEmpty ? .milliseconds(200) : .milliseconds(500)) {
                    let owned = try await own()
                    let current = try await lock.processID()
                    // New shards may hold rows below the floor that this process has only learned for the others. And a
                    // new session may mean a server that crashed, which forgets what was deleted last.
                    if !Set(owned).isSubset(of: shards) || current != session {
                        state.withLock { $0.floor = OutboxFloor() }
                    }
                    // It may even be another database, with other rows under the same ids.
                    if current != session {
                        try await settle(downTo: 0)
                        state.withLock { $0.confirmed = [] }
                    }
                    (shards, session) = (owned, current)
                    shardsOwned.set(Double(owned.count))
                    looked = .now
                }
                let look = shards.isEmpty ? Look() : try await look(at: shards)
                if !look.rows.isEmpty {
                    let (rows, owned) = (look.rows, shards)
                    pages.addTask { await self.publish(rows, owned, connection) }
                    pagesUnderWay += 1
                    lastRow = .now
                }
                // Behind a full page everything is settled and deleted first, or the next one would show nothing else.
                try await settle(downTo: look.isFull ? 0 : settings.pagesUnderWay - 1)
                if look.isFull { try await forget(state.withLock { $0.confirmed }) }
                if let pause = settings.pause(after: look.rows.count, sinceLast: lastRow.elapsed) {
                    // A process that ends still waits for what is under way.
                    try? await Task.sleep(for: pause)
                }
            }
            try await settle(downTo: 0)
        }
        // Whoever comes next would publish it once more.
        try await forget(state.withLock { $0.confirmed })
    }

    /// The shards that this process owns now, taking what is free.
    private func own() async throws -> [Int] {
        var owned: [Int] = []
        for shard in 0..<OutboxStore.shards where try await lock.tryAcquire(OutboxRelay.lockKey(shard)) {
            owned.append(shard)
        }
        return owned
    }

    /// The key under which a shard is owned.
    static func lockKey(_ shard: Int) -> Int64 { AdvisoryLock.key("relay", shard) }

    /// Reads the next page, while the rows that the broker has are deleted: what is under way waits for neither. The
    /// rows that can go are under way from here on.
    private func look(at shards: [Int]) async throws -> Look {
        let limit = settings.batch
        let (floor, held, done) = state.withLock { state in
            state.heldUntil = state.heldUntil.filter { $0.value > .now }
            return (state.floor, Array(state.heldUntil.keys), state.confirmed)
        }
        // No more than those: what is confirmed from here on may stand in the page.
        async let forgotten: Void = forget(done)
        let page = try await pool.run {
            try OutboxStore.page(shards: shards, above: floor, limit: limit, without: held, in: $0)
        }
        let isFull = page.rows.count >= limit
        try await forgotten
        return state.withLock { state in
            let pending = page.rows.first { !done.contains($0.id) }?.id
            // A page that left lanes out was not read to its end.
            state.floor.advance(page, isWhole: !isFull && held.isEmpty, lowestPending: pending)
            return Look(rows: state.take(page.rows, done: done), isFull: isFull)
        }
    }

    /// Deletes what the broker has. Where Postgres fails it is published again, and dropped by its sequence.
    private func forget(_ ids: Set<Int64>) async throws {
        if ids.isEmpty { return }
        try await pool.run { try OutboxStore.delete(ids: Array(ids), in: $0) }
        state.withLock { $0.confirmed.subtract(ids) }
    }
}
