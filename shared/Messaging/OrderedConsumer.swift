import AMQP
import Domain
import Lifecycle
import Threads
import Postgres
import Store
import Telemetry

/// How an ordered consumer works; the defaults are the product's.
package struct ConsumerSettings: Sendable {
    /// Messages taken from the broker ahead of the work.
    package var prefetch = 200
    /// Tasks worked on at once.
    package var lanes = 16
    /// After this a handler is cancelled and its message waits for another try.
    package var deadline: Duration = .seconds(60)
    /// Tries of one message before a person looks at it.
    package var maxAttempts = 5
    package var retry = RetryPolicy(base: .seconds(1), cap: .seconds(60))
    /// How often waiting messages are looked at.
    package var replayEvery: Duration = .milliseconds(200)
    /// How long a gap may last before the missing message is made again.
    package var repairAfter: Duration = .seconds(2)
    /// How often a process looks who shares the partitions with it.
    package var lookEvery: Duration = .seconds(1)
    /// After this long without a word a process is no member any more. Long enough to come back after a short outage.
    package var memberLease: Duration = .seconds(6)

    package init() {}
}

/// Law 2 as a service: consumes the partitions of one stream, a lane per task, and enforces order and exactly-once by
/// the positions in Postgres, whatever the broker, a relay or a woken zombie does.
///
/// Processes of one consumer share the partitions: each stands in the line of every partition, the owner first
/// (`PartitionPlan`). Reconnects by itself. A crash at any point leaves either the committed effect or a message that
/// comes again, and the broker serves the next in line.
package final class OrderedConsumer: Service {
    package let name: String
    private let stream: TaskStream
    private let amqp: AMQPConfig
    private let lanes: LaneScheduler
    private let lines: PartitionLines
    private let membership: Membership
    private let replays: ParkedReplay
    private let keepsPosition: Bool
    private let consumer: String
    private let pool: Pool
    private let settings: ConsumerSettings
    private let readiness: Readiness
    private let log: Logger

    package init(
        _ stream: TaskStream, _ handler: any MessageHandler, pool: Pool, amqp: AMQPConfig, replayLock: AdvisoryLock,
        settings: ConsumerSettings = ConsumerSettings(), readiness: Readiness, log: Logger, metrics: Metrics = .process
    ) {
        let consumer = handler.consumer
        self.name = "consumer \(consumer)"
        self.consumer = consumer
        self.pool = pool
        keepsPosition = handler.keepsPosition
        self.stream = stream
        self.amqp = amqp
        self.settings = settings
        self.readiness = readiness
        self.log = log
        let executor = MessageExecutor(handler: handler, pool: pool, settings: settings, log: log, metrics: metrics)
        self.lanes = LaneScheduler(width: settings.lanes, executor: executor)
        self.lines = PartitionLines(count: stream.queues.count)
        self.membership = Membership(
            consumer: consumer, pool: pool, lines: lines, settings: settings, log: log, metrics: metrics)
        self.replays = ParkedReplay(
            consumer: consumer, stream: stream, pool: pool, lanes: lanes, lines: lines, settings: settings,
            lock: replayLock, log: log)
        readiness.set(name, false)
    }

    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.membership.run() }
            group.addTask { await self.keepsPosition ? self.replays.run() : self.forgetParked() }
            group.addTask { await self.consume() }
            group.addTask {
                // Handlers in flight have a limited time to end; each partition is handed over when its own have.
                await untilCancelled()
                await self.lanes.drain()
            }
            await group.waitForAll()
        }
    }

    /// Without positions nothing is parked, and nobody would ever come back to what an earlier release has parked.
    private func forgetParked() async {
        let (consumer, pool) = (self.consumer, self.pool)
        try? await retrying("forget parked wakes", log: log) {
            try await pool.run { try ConsumerStore.forgetParked(consumer, in: $0) }
        }
    }

    private func consume() async {
        var failures = 0
        let backoff = Backoff(cap: .seconds(2))
        while !Task.isCancelled {
            let began = MonotonicTime.now
            do {
                let connection = try await AMQPConnection.open(amqp)
                try await serve(connection)
            } catch {
                // Not at once after a short life: the queues may be missing until somebody declares them.
                failures = began.elapsed > .seconds(5) ? 1 : failures + 1
                log.warning("consumer lost its broker", ["stream": stream.name, "error": "\(error)"])
                readiness.set(name, false)
                try? await Task.sleep(for: backoff.delay(afterFailures: failures))
            }
        }
        readiness.set(name, false)
    }

    /// Returns when the task is cancelled; throws why the broker was lost.
    private func serve(_ connection: AMQPConnection) async throws {
        let result: Result<Void, any Error>
        do {
            for queue in stream.queues { _ = try await connection.passiveDeclare(queue: queue) }
            await membership.connected()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for partition in stream.queues.indices {
                    group.addTask { try await self.stand(in: partition, connection) }
                }
                try await group.waitForAll()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        membership.disconnected()
        await connection.close()
        try result.get()
    }

    /// Stands in the line of one partition until the task is cancelled: takes a place, handles what comes, and takes
    /// one further back when that is the owner's due. Throws why the place was lost.
    private func stand(in partition: Int, _ connection: AMQPConnection) async throws {
        let queue = stream.queues[partition]
        while !Task.isCancelled {
            let ahead = lines.places(in: partition)
            await lanes.open(queue)
            let consumer = try await connection.openConsumer(queues: [queue], prefetch: settings.prefetch)
            let stand = lines.enter(partition, behind: ahead)
            // Nobody has to be served to be ready: who stands by can take over at once.
            if stand.isComplete { readiness.set(name, true) }
            membership.hurry()
            let isLost = await receive(consumer, connection, until: stand.untilGoingBack)
            lines.leave(partition)
            if isLost {
                await lanes.forget(queue)
                throw consumer.failure ?? connection.failure
                    ?? AMQPError(.consumerCancelled, "the deliveries of '\(queue)' ended")
            }
            // Close only after the handlers in flight have committed and acked: what is unacked goes back in order.
            await drain(queue, connection)
            await consumer.close()
        }
    }

    /// Handles what comes until the task is cancelled or `end` finishes. True when the deliveries ended before that.
    private func receive(
        _ consumer: AMQPConsumer, _ connection: AMQPConnection, until end: AsyncStream<Void>
    ) async -> Bool {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await batch in consumer.deliveries {
                    for delivery in batch { await self.take(delivery, connection) }
                }
                return !Task.isCancelled
            }
            group.addTask {
                for await _ in end {}
                return false
            }
            let isLost = await group.next() ?? false
            group.cancelAll()
            return isLost
        }
    }

    /// Waits for the handlers of a queue, as long as the connection by which they could ack stands.
    private func drain(_ queue: String, _ connection: AMQPConnection) async {
        let lanes = self.lanes
        let watch = Task {
            await connection.waitUntilClosed()
            if !connection.isOpen { await lanes.forget(queue) }
        }
        await lanes.drain(queue) { !connection.isOpen }
        watch.cancel()
    }

    private func take(_ delivery: Delivery, _ connection: AMQPConnection) async {
        let tag = delivery.deliveryTag
        let ack: @Sendable () -> Void = { connection.ack([tag]) }
        do {
            let message = try Message(delivery)
            await lanes.add(
                LaneItem(message: message, redelivered: delivery.redelivered, parkedAttempts: nil, ack: ack))
        } catch {
            await lanes.refuse(delivery, reason: error.reason, ack: ack)
        }
    }
}
