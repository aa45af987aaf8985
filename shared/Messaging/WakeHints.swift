import AMQP
import Crypto
import Domain
import Lifecycle
import Telemetry

/// Hears from the broker that something happened to a task, so that whoever waits for it need not wait for the next
/// sweep. Nothing depends on it: without a broker events are told a little later.
package struct WakeHints: Service {
    package let name = "wake hints"
    private let owner: String
    private let types: [TaskEventType]
    private let amqp: AMQPConfig
    private let log: Logger
    private let hint: @Sendable (TaskID) -> Void

    /// - Parameters:
    ///   - owner: the service, which the broker's queue is named after.
    ///   - types: the events to hear of; all where none is named.
    ///   - hint: hears of these events of every task, so it has to be quick.
    package init(
        _ owner: String, types: [TaskEventType] = [], amqp: AMQPConfig, log: Logger,
        hint: @escaping @Sendable (TaskID) -> Void
    ) {
        self.owner = owner
        self.types = types
        self.amqp = amqp
        self.log = log
        self.hint = hint
    }

    package func run() async throws {
        var failures = 0
        let backoff = Backoff()
        while !Task.isCancelled {
            do {
                let connection = try await AMQPConnection.open(amqp)
                try await listen(connection) { failures = 0 }
            } catch {
                if failures == 0 { log.warning("no wake hints for now", ["error": "\(error)"]) }
            }
            failures += 1
            if !Task.isCancelled { try? await Task.sleep(for: backoff.delay(afterFailures: failures)) }
        }
    }

    private func listen(_ connection: AMQPConnection, isUp: () -> Void) async throws {
        let queue = Queue(
            "\(owner).hints.\(try Random.hexToken(bytes: 8))", durable: false, exclusive: true, autoDelete: true,
            arguments: QueueArguments().maxLength(1000).dropHead)
        let keys = types.isEmpty ? ["#"] : types.map { "*.\($0.rawValue)" }
        let bindings = keys.map { Binding(from: "task.events", to: .queue(queue.name), routingKey: $0) }
        try await connection.passiveDeclare(exchange: "task.events")
        try await connection.declare(Topology(queues: [queue], bindings: bindings))
        let deliveries = try await connection.consume(queues: [queue.name], prefetch: 500, exclusive: true)
        isUp()
        await withTaskCancellationHandler {
            for await batch in deliveries {
                for delivery in batch {
                    if let task = TaskID(rawValue: String(delivery.routingKey.prefix { $0 != "." })) {
                        hint(task)
                    }
                }
                connection.ack(batch.map(\.deliveryTag))
            }
        } onCancel: {
            Task { await connection.close() }
        }
        await connection.close()
    }
}
