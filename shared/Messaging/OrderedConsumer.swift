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

    package init() {}
}

/// Law 2 as a service: consumes the partitions of one stream, a lane per task, and enforces order and exactly-once by
/// the positions in Postgres, whatever the broker, a relay or a woken zombie does.
///
/// Reconnects by itself. A crash at any point leaves either the committed effect or a message that comes again.
package final class OrderedConsumer: Service {
    package let name: String
    private let stream: TaskStream
    private let amqp: AMQPConfig
    private let pool: Pool
    private let lanes: LaneScheduler
    private let replays: ParkedReplay
    private let settings: ConsumerSettings
    private let readiness: Readiness
    private let log: Logger

    package init(
        _ stream: TaskStream, _ handler: any MessageHandler, pool: Pool, amqp: AMQPConfig, replayLock: AdvisoryLock,
        settings: ConsumerSettings = ConsumerSettings(), readiness: Readiness, log: Logger, metrics: Metrics = .process
    ) {
        self.name = "consumer \(handler.consumer)"
        self.stream = stream
        self.amqp = amqp
        self.pool = pool
        self.settings = settings
        self.readiness = readiness
        self.log = log
        let executor = MessageExecutor(handler: handler, pool: pool, settings: settings, log: log, metrics: metrics)
        self.lanes = LaneScheduler(width: settings.lanes, executor: executor)
        self.replays = ParkedReplay(
            consumer: handler.consumer, stream: stream, pool: pool, lanes: lanes, settings: settings,
            lock: replayLock, log: log)
        readiness.set(name, false)
    }

    package func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.replays.run() }
            group.addTask { await self.consume() }
            await group.waitForAll()
        }
        await lanes.drain()
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
        for queue in stream.queues { _ = try await connection.passiveDeclare(queue: queue) }
        let consumer = try await connection.openConsumer(queues: stream.queues, prefetch: settings.prefetch)
        readiness.set(name, true)
        // Ends with the consumer, and at once when this task is cancelled.
        for await batch in consumer.deliveries {
            for delivery in batch { await take(delivery, connection) }
        }
        if Task.isCancelled {
            // Close only after the handlers in flight have committed and acked: what is unacked goes back in order.
            await lanes.drain()
            return await connection.close()
        }
        await lanes.forgetWaiting()
        let failure = consumer.failure ?? connection.failure
        await connection.close()
        throw failure ?? AMQPError(.consumerCancelled, "the deliveries ended")
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
