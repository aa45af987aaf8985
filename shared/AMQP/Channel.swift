/// One AMQP channel as its `FrameLoop` sees it.
final class Channel {
    /// What the broker is sending piece by piece: a method, its header, then the body.
    struct Content {
        enum Head {
            case delivery(DeliveryHead)
            case returned(ReturnHead)
        }

        let head: Head
        var properties: MessageProperties?
        var bodySize = 0
        var body: [UInt8] = []

        init(_ head: Head) {
            self.head = head
        }

        var isComplete: Bool {
            properties != nil && body.count >= bodySize
        }

        mutating func append(_ bytes: [UInt8]) {
            // A body that came in one frame, as nearly all do, is not copied again.
            if body.isEmpty {
                body = bytes
                if bodySize > bytes.count { body.reserveCapacity(bodySize) }
            } else {
                body += bytes
            }
        }
    }

    /// What the channel keeps for its consumer.
    struct Consuming {
        let state: ConsumerState
        /// Queue names by consumer tag.
        let queues: [String: String]
        /// Deliveries of this turn, not yet handed out.
        var pending: [Delivery] = []
        /// Tags to ack at the end of this turn.
        var acks: [UInt64] = []
        var ledger = AckLedger()
    }

    let number: UInt16
    /// True once we sent `channel.close`: everything but its answer is ignored.
    var isClosing = false
    var content: Content?
    var consuming: Consuming?
    /// Who waits for the channel to be closed.
    var closers: [@Sendable () -> Void] = []
    private var awaited: [CallGroup] = []
    private var head = 0

    init(_ number: UInt16) {
        self.number = number
    }

    /// Notes that a call was sent for this group.
    func await(_ group: CallGroup) {
        awaited.append(group)
    }

    /// Hands an answer to the call that waits longest.
    func receive(_ reply: Reply) {
        guard head < awaited.count else { return }
        let group = awaited[head]
        head += 1
        if head == awaited.count {
            awaited = []
            head = 0
        }
        group.receive(.success(reply))
    }

    /// Fails every call that waits, and the consumer.
    func fail(_ error: AMQPError) {
        consuming?.state.fail(error)
        finish(error)
    }

    /// Fails every call that waits, and tells everyone who waits that the channel is closed.
    func finish(_ error: AMQPError) {
        let groups = awaited[head...]
        awaited = []
        head = 0
        for group in groups { group.receive(.failure(error)) }
        let waiting = closers
        closers = []
        for closer in waiting { closer() }
    }

    /// Hands out the deliveries of this turn, all at once.
    func flushDeliveries() {
        guard let deliveries = consuming?.pending, !deliveries.isEmpty else { return }
        consuming?.pending = []
        consuming?.state.yield(deliveries)
    }
}
