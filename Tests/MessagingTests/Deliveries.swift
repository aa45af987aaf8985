import AMQP
import Domain
import Messaging
import Threads

/// Takes what arrives in queues, in the order in which it arrives there.
final class Deliveries: Sendable {
    private struct State {
        var last: [String: Int64] = [:]
        var count = 0
        var ahead: [String] = []
    }

    private let state = Lock(State())
    private let connection: AMQPConnection
    private let reader: Task<Void, Never>

    /// Starts to take; on a connection of its own.
    init(_ spine: Spine, queues: [String]) async throws {
        let connection = try await AMQPConnection.open(AMQPConfig(url: spine.broker))
        let batches = try await connection.consume(queues: queues, prefetch: 1000)
        let state = self.state
        reader = Task {
            for await batch in batches {
                state.withLock { state in
                    for delivery in batch { Self.take(delivery, &state) }
                }
                connection.ack(batch.map(\.deliveryTag))
            }
        }
        self.connection = connection
    }

    /// As the ordered consumer judges: what was seen is dropped, what is ahead is a gap.
    private static func take(_ delivery: Delivery, _ state: inout State) {
        let task = delivery.correlationID ?? ""
        let seq = delivery.headers["stream_seq"]?.int ?? 0
        let last = state.last[task] ?? 0
        state.count += 1
        if seq == last + 1 { state.last[task] = seq }
        if seq > last + 1 { state.ahead.append("\(task): \(seq) after \(last)") }
    }

    /// How many came, doubles included.
    var count: Int { state.withLock { $0.count } }

    /// Different messages so far.
    var total: Int { state.withLock { $0.last.values.reduce(0) { $0 + Int($1) } } }

    /// Messages that came before the one they follow.
    var ahead: [String] { state.withLock { $0.ahead } }

    /// The last seq of a task up to which nothing is missing.
    func last(_ task: TaskID) -> Int64 { state.withLock { $0.last[task.rawValue] ?? 0 } }

    func stop() async {
        await connection.close()
        await reader.value
    }
}
