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
    package var crowdPause: Duration = .milliseconds(5)
    /// How long a message that no queue takes, or that the broker refused, waits for its next try.
    package var holdBack: Duration = .seconds(1)

    package init() {}

    /// What comes while a page is being published is the next page: few messages wait for nothing.
    func pause(after confirmed: Int, sinceLast: Duration) -> Duration? {
        if confirmed > 0 { return confirmed < crowd ? nil : crowdPause }
        return sinceLast < .seconds(1) ? busyPause : idlePause
    }
}

/// The only publisher of task messages: outbox → RabbitMQ, with confirms.
///
/// Owns shards by session advisory locks; a standby takes them over when the session ends. At most one unconfirmed
/// message per stream and task is under way, so an order that the database gave cannot be lost here. A crash after a
/// confirm and before the delete publishes again: consumers drop it by its sequence.
package final class OutboxRelay: Service {
    package let name = "relay"
    private let pool: Pool
    private let amqp: AMQPConfig
    private let lock: AdvisoryLock
    private let settings: RelaySettings
    private let readiness: Readiness
    private let log: Logger
    private let published: Counter
    private let refused: Counter
    private let unroutable: Counter
    private let shardsOwned: Gauge
    private let state = Lock(RelayState())

    private struct RelayState {
        var floor = OutboxFloor()
        var heldUntil: [String: MonotonicTime] = [:]
        /// What the broker has and the table still holds.
        var confirmed: Set<Int64> = []
    }

    /// What came of one page.
    private struct PageResult {
        var confirmed = 0
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
        var lastRow = MonotonicTime(nanoseconds: 0)
        var shards: [Int] = []
        var session: Int32?
        var looked = MonotonicTime(nanoseconds: 0)
        var last = PageResult()
        while !Task.isCancelled {
            if looked.elapsed > (shards.isEmpty ? .milliseconds(200) : .milliseconds(500)) {
                let owned = try await own()
                let current = try await lock.processID()
                // New shards may hold rows below the floor that this process has only learned for the others. And a new
                // session may mean a server that crashed, which forgets what was deleted last.
                if !Set(owned).isSubset(of: shards) || current != session {
                    state.withLock { $0.floor = OutboxFloor() }
                }
                // It may even be another database, with other rows under the same ids.
                if current != session { state.withLock { $0.confirmed = [] } }
                (shards, session) = (owned, current)
                shardsOwned.set(Double(owned.count))
                looked = .now
            }
            let page = shards.isEmpty ? PageResult() : try await publishPage(connection, shards, after: last)
            last = page
            if page.confirmed > 0 { lastRow = .now }
            if let pause = settings.pause(after: page.confirmed, sinceLast: lastRow.elapsed) {
                // A process that ends still forgets what was confirmed.
                try? await Task.sleep(for: pause)
            }
        }
        // Whoever comes next would publish it once more.
        try await forget()
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

    /// Publishes one page, while the rows of the page before it are deleted: its readers wait for neither. Behind a full
    /// page they are deleted first, or the next one would hold nothing else.
    private func publishPage(
        _ connection: AMQPConnection, _ shards: [Int], after last: PageResult
    ) async throws -> PageResult {
        if last.isFull { try await forget() }
        async let forgotten: Void = forget()
        let limit = settings.batch
        let (floor, held, done) = state.withLock { state in
            state.heldUntil = state.heldUntil.filter { $0.value > .now }
            return (state.floor, Array(state.heldUntil.keys), state.confirmed)
        }
        let page = try await pool.run {
            try OutboxStore.page(shards: shards, above: floor, limit: limit, without: held, in: $0)
        }
        let confirmed = try await publish(page.rows.filter { !done.contains($0.id) }, shards, connection)
        let gone = done.union(confirmed)
        let pending = page.rows.first { !gone.contains($0.id) }?.id
        let isFull = page.rows.count >= limit
        state.withLock { state in
            // A page that left lanes out was not read to its end.
            state.floor.advance(page, isWhole: !isFull && held.isEmpty, lowestPending: pending)
        }
        try await forgotten
        return PageResult(confirmed: confirmed.count, isFull: isFull)
    }

    /// Deletes what the broker has. Where Postgres fails it is published again, and dropped by its sequence.
    private func forget() async throws {
        let ids = state.withLock { Array($0.confirmed) }
        if ids.isEmpty { return }
        try await pool.run { try OutboxStore.delete(ids: ids, in: $0) }
        state.withLock { $0.confirmed.subtract(ids) }
    }

    /// Rounds of at most one message per stream and task; a round begins when the one before it is confirmed.
    private func publish(_ rows: [OutboxRow], _ shards: [Int], _ connection: AMQPConnection) async throws -> [Int64] {
        let keys = Set(shards.map(OutboxRelay.lockKey))
        var blocked: Set<String> = []
        var waiting = rows
        var confirmed: [Int64] = []
        while !waiting.isEmpty {
            var seen: Set<String> = []
            var round: [OutboxRow] = []
            var rest: [OutboxRow] = []
            for row in waiting {
                if blocked.contains(row.lane) { continue }
                if row.isOrdered && !seen.insert(row.lane).inserted { rest.append(row) } else { round.append(row) }
            }
            // One that was frozen finds its shards with another: what is left of the page is the other's.
            if round.isEmpty || !lock.held.isSuperset(of: keys) { break }
            do {
                let results = try await connection.publish(round.map(\.publishing))
                for (row, result) in zip(round, results) {
                    if settle(row, result) { confirmed.append(row.id) } else { blocked.insert(row.lane) }
                }
            } catch let error as AMQPError where error.replyCode == 404 {
                // A missing exchange takes the whole round down; without its messages the next one stands.
                let missing = try await missingExchanges(of: round, connection)
                if missing.isEmpty { throw error }
                for row in round where missing.contains(row.exchange) {
                    _ = settle(row, .returned(code: 404, text: "no exchange \(row.exchange)"))
                    blocked.insert(row.lane)
                }
                rest = round.filter { !missing.contains($0.exchange) } + rest
            }
            waiting = rest
        }
        return confirmed
    }

    private func missingExchanges(of rows: [OutboxRow], _ connection: AMQPConnection) async throws -> Set<String> {
        var missing: Set<String> = []
        for exchange in Set(rows.map(\.exchange)) {
            do {
                try await connection.passiveDeclare(exchange: exchange)
            } catch let error as AMQPError where error.replyCode == 404 {
                missing.insert(exchange)
            }
        }
        return missing
    }

    /// True when the broker has it. What it does not take holds back its own stream and task, nothing else.
    private func settle(_ row: OutboxRow, _ result: PublishResult) -> Bool {
        switch result {
        case .confirmed:
            state.withLock { _ = $0.confirmed.insert(row.id) }
            published.increment(by: 1, row.stream)
            return true
        case .nacked:
            refused.increment(by: 1, row.stream)
            log.warning("broker refused a message", ["stream": row.stream, "task_id": row.taskID])
        case .returned(let code, let text):
            unroutable.increment(by: 1, row.stream)
            log.error(
                "no queue takes a message",
                [
                    "stream": row.stream, "task_id": row.taskID, "routing_key": row.routingKey,
                    "reply": "\(code) \(text)",
                ])
        }
        let until = MonotonicTime.now + settings.holdBack
        state.withLock { $0.heldUntil[row.lane] = until }
        return false
    }
}

extension OutboxRow {
    /// Hints carry no sequence and need no order.
    fileprivate var isOrdered: Bool { streamSeq > 0 }

    fileprivate var publishing: Publishing {
        Publishing(
            exchange: exchange, routingKey: routingKey, messageID: messageID, correlationID: taskID, type: type,
            contentType: "application/json",
            headers: [
                "traceparent": .string(traceparent), "attempt": .int(Int64(attempt)), "stream_seq": .int(streamSeq),
            ],
            body: Array(payload.utf8))
    }
}
