import AMQP
import Lifecycle
import Messaging
import Telemetry

/// Wakes the adapter when a start is asked for. Only a hint, acked at once: the pass every few seconds finds what a lost
/// one meant.
struct StartHints: Service {
    let name = "start hints"
    let amqp: AMQPConfig
    let backend: String
    let adapter: ComputeAdapter
    let log: Logger

    func run() async throws {
        var failures = 0
        while !Task.isCancelled {
            do {
                let connection = try await AMQPConnection.open(amqp)
                failures = 0
                let deliveries = try await connection.consume(queues: [Exchanges.startQueue(backend)], prefetch: 16)
                await withTaskCancellationHandler {
                    for await batch in deliveries {
                        connection.ack(batch.map(\.deliveryTag))
                        await adapter.wake()
                    }
                } onCancel: {
                    Task { await connection.close() }
                }
            } catch {
                log.warning("start hints interrupted", ["error": "\(error)"])
            }
            failures += 1
            if !Task.isCancelled { try? await Task.sleep(for: Backoff().delay(afterFailures: failures)) }
        }
    }
}
