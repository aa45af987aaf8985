import Lifecycle

/// A connection to the broker.
///
/// A thread of its own owns the socket; every call here hands over a command and waits without blocking a thread.
/// The connection dies with its first error: then every call that waits throws an `AMQPError`, every stream of
/// deliveries finishes, and so does every later call. Nothing reconnects by itself; open a new one.
///
/// Publish and consume on two connections: a broker short of memory stops reading from publishers, and would then
/// not read a consumer's acks either. Dropping the last reference closes it in the background.
package final class AMQPConnection: Sendable {
    let mailbox: Mailbox
    private let closeTimeout: Duration
    /// The broker's release, as it told it at login; empty when it did not.
    package let brokerVersion: String

    init(mailbox: Mailbox, closeTimeout: Duration, brokerVersion: String) {
        self.mailbox = mailbox
        self.closeTimeout = closeTimeout
        self.brokerVersion = brokerVersion
    }

    deinit {
        mailbox.post(.close {})
    }

    /// Connects and logs in, within the config's connect timeout for each step.
    ///
    /// - Throws: `AMQPError` with code `.unreachable` or `.loginRefused`.
    package static func open(_ config: AMQPConfig) async throws -> AMQPConnection {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<AMQPConnection, any Error>) in
            do {
                _ = try NamedThread("amqp") { FrameLoop.main(config, continuation) }
            } catch {
                continuation.resume(throwing: AMQPError(.unreachable, "\(error)"))
            }
        }
    }

    /// Why the connection ended; nil while it lives. After `close` the code is `.closed`.
    package var failure: AMQPError? {
        mailbox.failure
    }

    /// False once the connection has ended.
    package var isOpen: Bool {
        mailbox.failure == nil
    }

    /// True while the broker, short of memory or disk, asks publishers to wait; `publish` waits until it is over.
    package var isBlocked: Bool {
        mailbox.isBlocked
    }

    /// Returns when the connection has ended, or the task is cancelled.
    package func waitUntilClosed() async {
        for await _ in mailbox.makeEndStream() {}
    }

    // MARK: Topology

    /// Declares exchanges, then queues, then bindings, in one flight. What is there already stays as it is.
    ///
    /// - Throws: `AMQPError` with reply code 406 when something is there with other properties.
    package func declare(_ topology: Topology) async throws {
        try await call(topology.calls)
    }

    /// How full a queue is.
    ///
    /// - Throws: `AMQPError` with reply code 404 when there is no such queue.
    @discardableResult
    package func passiveDeclare(queue: String) async throws -> QueueCounts {
        let replies = try await call([.declareQueue(Queue(queue), passive: true)])
        guard case .counts(let messages, let consumers) = replies.first else {
            return QueueCounts(messages: 0, consumers: 0)
        }
        return QueueCounts(messages: messages, consumers: consumers)
    }

    /// Checks that an exchange is there.
    ///
    /// - Throws: `AMQPError` with reply code 404 when it is not.
    package func passiveDeclare(exchange: String) async throws {
        try await call([.declareExchange(Exchange(exchange, .direct), passive: true)])
    }

    /// Adds bindings.
    package func bind(_ bindings: Binding...) async throws {
        try await call(bindings.map { .bind($0) })
    }

    /// Takes bindings away; one that is not there is no error.
    package func unbind(_ bindings: Binding...) async throws {
        try await call(bindings.map { .unbind($0) })
    }

    /// Drops every message that waits in a queue, and says how many. What a consumer holds is not touched.
    @discardableResult
    package func purge(queue: String) async throws -> Int {
        guard case .counts(let messages, _) = try await call([.purge(queue: queue)]).first else { return 0 }
        return messages
    }

    /// Deletes a queue with everything in it.
    package func delete(queue: String) async throws {
        try await call([.deleteQueue(queue)])
    }

    /// Deletes an exchange with its bindings.
    package func delete(exchange: String) async throws {
        try await call([.deleteExchange(exchange)])
    }

    @discardableResult
    private func call(_ calls: [MethodCall]) async throws -> [Reply] {
        guard !calls.isEmpty else { return [] }
        for call in calls { try call.validate() }
        return try await mailbox.call { .call(calls, $0) }
    }

    // MARK: Publishing

    /// Publishes messages in order and waits until the broker has answered for each; results are in the same order.
    ///
    /// Calls from several tasks share the connection: messages of one call stay together and in order. Waits while
    /// `isBlocked`. Cancelling the task does not take messages back.
    /// - Throws: `AMQPError` when the connection ends, or an exchange is missing (404: the channel is lost, the
    ///   connection lives on). Some of the messages may have reached the broker then: publish all of them again.
    package func publish(_ batch: [Publishing]) async throws -> [PublishResult] {
        guard !batch.isEmpty else { return [] }
        for message in batch { try message.validate() }
        return try await mailbox.call { .publish(batch, $0) }
    }

    // MARK: Consuming

    /// Consumes from queues on one new channel.
    ///
    /// - Parameters:
    ///   - queues: consumed in this order; of several consumers of a single-active-consumer queue the first one in
    ///     is active.
    ///   - prefetch: how many unacked messages the broker sends ahead, per queue; 1 to 65535.
    ///   - exclusive: true refuses to share the queues with any other consumer (403).
    /// - Returns: what the queues deliver; it finishes when the broker ends the consumer or the connection ends.
    package func consume(
        queues: [String], prefetch: Int, exclusive: Bool = false
    ) async throws -> AsyncStream<[Delivery]> {
        try await openConsumer(queues: queues, prefetch: prefetch, exclusive: exclusive).deliveries
    }

    /// Like `consume`, for a consumer that is closed on its own or asked why it ended.
    package func openConsumer(
        queues: [String], prefetch: Int, exclusive: Bool = false
    ) async throws -> AMQPConsumer {
        guard !queues.isEmpty, (1...65535).contains(prefetch) else {
            throw AMQPError(.invalidArgument, "a consumer needs a queue and a prefetch count from 1 to 65535")
        }
        for queue in queues { try Publishing.checkLength(of: queue, "queue name") }
        let state = ConsumerState()
        let order = ConsumerOrder(queues: queues, prefetch: prefetch, exclusive: exclusive, state: state)
        let channel = try await mailbox.call { .consume(order, $0) }
        return AMQPConsumer(connection: self, state: state, channel: channel)
    }

    /// Tells the broker that deliveries are dealt with. Returns at once; acks of one moment travel together. Tags
    /// that are settled already, or whose consumer has ended, are ignored: those messages come again.
    package func ack(_ tags: [UInt64]) {
        guard !tags.isEmpty else { return }
        mailbox.post(.ack(tags))
    }

    /// Gives a delivery back: to its queue, or, without `requeue`, to the queue's dead-letter exchange. Returns at
    /// once.
    package func reject(_ tag: UInt64, requeue: Bool) {
        mailbox.post(.reject(tag, requeue: requeue))
    }

    // MARK: The end

    /// Waits for outstanding confirms, sends outstanding acks, closes the channels, so that what is unacked goes
    /// back to its queues, then the connection. What is not done within the config's close timeout is cut off. A
    /// second call waits for the first.
    package func close() async {
        let patience = closeTimeout + .seconds(1)
        let mailbox = mailbox
        // The loop keeps the deadline itself, unless it is stuck in a write to a broker that does not read.
        let watchdog = Task {
            try await Task.sleep(for: patience)
            mailbox.cut()
        }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            mailbox.post(.close { continuation.resume() })
        }
        watchdog.cancel()
    }
}
