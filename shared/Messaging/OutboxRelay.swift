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
    /// The pause between looks while messages come, and a second after.
    package var busyPause: Duration = .milliseconds(5)
    package var idlePause: Duration = .milliseconds(20)
    /// How long a message that no queue takes, or that the broker refused, waits for its next try.
    package var holdBack: Duration = .seconds(1)

    package init() {}
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
    private let unroutable: Counter
    private let state = Lock(RelayState())

    private struct RelayState {
        var floor = OutboxFloor()
        var heldUntil: [String: MonotonicTime] = [:]
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
        readiness.set(name, false)
    }

    package func run() async throws {
        var failures = 0
        while !Task.isCancelled {
            do {
                let connection = try await AMQPConnection.open(amqp)
                readiness.set(name, true)
                failures = 0
                defer { readiness.set(name, false) }
                do {
                    try await relay(connection)
                } catch {
                    await connection.close()
                    throw error
                }
                await connection.close()
            } catch {
                failures += 1
                log.warning("relay interrupted", ["error": "\(error)"])
                try? await Task.sleep(for: Backoff().delay(afterFailures: failures))
            }
        }
    }

    private func relay(_ connection: AMQPConnection) async throws {
        var lastRow = MonotonicTime(nanoseconds: 0)
        var shards: [Int] = []
        var looked = MonotonicTime(nanoseconds: 0)
        while !Task.isCancelled {
            if looked.elapsed > .milliseconds(500) || shards.isEmpty {
                let owned = try await own()
                // New shards may hold rows below the floor that this process has only learned for the others.
                if !Set(owned).isSubset(of: shards) { state.withLock { $0.floor = OutboxFloor() } }
                shards = owned
                looked = .now
            }
            if !shards.isEmpty, try await runOnce(connection, shards: shards) > 0 { lastRow = .now }
            let isBusy = lastRow.elapsed < .seconds(1)
            try await Task.sleep(for: isBusy ? settings.busyPause : settings.idlePause)
        }
    }

    /// The shards that this process owns now, taking what is free.
    private func own() async throws -> [Int] {
        var owned: [Int] = []
        for shard in 0..<OutboxStore.shards where try await lock.tryAcquire(OutboxRelay.lockKey(shard)) {
            owned.append(shard)
        }
        return owned
    }

    private static func lockKey(_ shard: Int) -> Int64 { AdvisoryLock.key("relay", shard) }

    /// Publishes one page. Returns how many messages were confirmed.
    package func runOnce(_ connection: AMQPConnection, shards: [Int]) async throws -> Int {
        let (floor, limit) = (state.withLock { $0.floor }, settings.batch)
        let page = try await pool.run { try OutboxStore.page(shards: shards, above: floor, limit: limit, in: $0) }
        let confirmed = try await publish(page.rows, connection)
        try await pool.run { try OutboxStore.delete(ids: confirmed, in: $0) }
        let gone = Set(confirmed)
        let pending = page.rows.first { !gone.contains($0.id) }?.id
        state.withLock { $0.floor.advance(page, isWhole: page.rows.count < limit, lowestPending: pending) }
        return confirmed.count
    }

    /// Rounds of at most one message per stream and task; a round begins when the one before it is confirmed.
    private func publish(_ rows: [OutboxRow], _ connection: AMQPConnection) async throws -> [Int64] {
        var waiting = rows
        var confirmed: [Int64] = []
        while !waiting.isEmpty {
            var seen: Set<String> = []
            var round: [OutboxRow] = []
            var rest: [OutboxRow] = []
            for row in waiting {
                let key = row.lane
                if isHeld(key) { continue }
                if row.isOrdered && !seen.insert(key).inserted { rest.append(row) } else { round.append(row) }
            }
            if round.isEmpty { break }
            let results = try await connection.publish(round.map(\.publishing))
            for (row, result) in zip(round, results) where settle(row, result) { confirmed.append(row.id) }
            waiting = rest
        }
        return confirmed
    }

    private func isHeld(_ key: String) -> Bool {
        state.withLock { state in
            guard let until = state.heldUntil[key] else { return false }
            if until > .now { return true }
            state.heldUntil[key] = nil
            return false
        }
    }

    /// True when the broker has it. What it does not take holds back its own stream and task, nothing else.
    private func settle(_ row: OutboxRow, _ result: PublishResult) -> Bool {
        switch result {
        case .confirmed:
            published.increment(by: 1, row.stream)
            return true
        case .nacked:
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
    fileprivate var lane: String { "\(stream)/\(taskID)" }

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
