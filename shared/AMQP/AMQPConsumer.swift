import Lifecycle

/// What to consume.
struct ConsumerOrder: Sendable {
    let queues: [String]
    let prefetch: Int
    let exclusive: Bool
    let state: ConsumerState
}

/// The part of a consumer that the loop and the caller share.
final class ConsumerState: Sendable {
    let deliveries: AsyncStream<[Delivery]>
    private let continuation: AsyncStream<[Delivery]>.Continuation
    private let error = Lock<AMQPError?>(nil)

    init() {
        // Unbounded is safe: the broker sends no more than the prefetch count ahead of the acks.
        (deliveries, continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    var failure: AMQPError? {
        error.withLock { $0 }
    }

    func yield(_ deliveries: [Delivery]) {
        continuation.yield(deliveries)
    }

    func finish() {
        continuation.finish()
    }

    func fail(_ reason: AMQPError) {
        error.withLock { $0 = $0 ?? reason }
        continuation.finish()
    }
}

/// Messages from some queues, on a channel of their own.
///
/// Dropping it, or ceasing to iterate, closes nothing: messages already delivered stay ours until they are acked or
/// the channel closes.
package final class AMQPConsumer: Sendable {
    private let connection: AMQPConnection
    private let state: ConsumerState
    private let channel: UInt16

    init(connection: AMQPConnection, state: ConsumerState, channel: UInt16) {
        self.connection = connection
        self.state = state
        self.channel = channel
    }

    /// The messages, as many at once as arrived together, in order per queue. Finishes when the consumer or its
    /// connection ends. For one iteration by one task.
    package var deliveries: AsyncStream<[Delivery]> {
        state.deliveries
    }

    /// Why the broker ended it; nil while it runs and after `close`.
    package var failure: AMQPError? {
        state.failure
    }

    /// Sends the acks handed in so far, then closes the channel, so that what is unacked goes back to its queues in
    /// order. Returns when the broker has done so, or the connection is gone.
    package func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            connection.mailbox.post(.closeConsumer(channel) { continuation.resume() })
        }
    }
}
