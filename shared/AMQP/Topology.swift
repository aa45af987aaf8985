import Lifecycle

/// A named place to publish to.
package struct Exchange: Sendable, Hashable {
    /// How an exchange chooses queues.
    package enum Kind: Sendable, Hashable {
        /// By equal routing key.
        case direct
        /// By pattern: words between dots, `*` for one, `#` for any.
        case topic
        /// All of them.
        case fanout
        /// One of them, by the hash of a message property such as `correlation_id`. Bind with a weight, "1", as
        /// routing key. Messages with equal property keep their queue while the bindings stay as they are.
        case xConsistentHash(hashProperty: String)

        var name: String {
            switch self {
            case .direct: "direct"
            case .topic: "topic"
            case .fanout: "fanout"
            case .xConsistentHash: "x-consistent-hash"
            }
        }
    }

    /// Its name.
    package var name: String
    /// How it routes.
    package var kind: Kind
    /// True survives a restart of the broker.
    package var durable: Bool
    /// Further arguments.
    package var arguments: [String: FieldValue]

    package init(_ name: String, _ kind: Kind, durable: Bool = true, arguments: [String: FieldValue] = [:]) {
        self.name = name
        self.kind = kind
        self.durable = durable
        self.arguments = arguments
    }

    var allArguments: [String: FieldValue] {
        guard case .xConsistentHash(let property) = kind else { return arguments }
        return arguments.merging(["hash-property": .string(property)]) { given, _ in given }
    }
}

/// A named place where messages wait for a consumer.
package struct Queue: Sendable, Hashable {
    /// Its name.
    package var name: String
    /// True survives a restart of the broker; quorum queues must be durable.
    package var durable: Bool
    /// True belongs to the connection that declares it, and goes with it.
    package var exclusive: Bool
    /// True goes with its last consumer.
    package var autoDelete: Bool
    /// What kind of queue it is and what its limits are.
    package var arguments: QueueArguments

    package init(
        _ name: String, durable: Bool = true, exclusive: Bool = false, autoDelete: Bool = false,
        arguments: QueueArguments = QueueArguments()
    ) {
        self.name = name
        self.durable = durable
        self.exclusive = exclusive
        self.autoDelete = autoDelete
        self.arguments = arguments
    }
}

/// The arguments of a queue, built up: `.quorum.singleActiveConsumer.deliveryLimit(20)`.
package struct QueueArguments: Sendable, Hashable {
    /// The arguments as the broker reads them.
    package private(set) var fields: [String: FieldValue]

    package init(_ fields: [String: FieldValue] = [:]) {
        self.fields = fields
    }

    /// A replicated queue that fsyncs before it confirms.
    package static var quorum: QueueArguments {
        QueueArguments(["x-queue-type": "quorum"])
    }

    /// One consumer at a time, the others stand by: what keeps messages in order.
    package var singleActiveConsumer: QueueArguments {
        with("x-single-active-consumer", true)
    }

    /// After this many redeliveries the message is dead-lettered, or dropped (quorum queues).
    package func deliveryLimit(_ count: Int64) -> QueueArguments {
        with("x-delivery-limit", .int(count))
    }

    /// At most about this many messages; what happens then is up to the overflow behaviour.
    package func maxLength(_ count: Int64) -> QueueArguments {
        with("x-max-length", .int(count))
    }

    /// A full queue refuses: publishers get a nack.
    package var rejectPublish: QueueArguments {
        with("x-overflow", "reject-publish")
    }

    /// A full queue drops its oldest message.
    package var dropHead: QueueArguments {
        with("x-overflow", "drop-head")
    }

    /// Messages older than this are dead-lettered, or dropped.
    package func messageTimeToLive(_ duration: Duration) -> QueueArguments {
        with("x-message-ttl", .int(duration.wholeMilliseconds))
    }

    /// Where rejected and expired messages go.
    ///
    /// - Parameter atLeastOnce: the message leaves this queue when the target has confirmed it; only for quorum
    ///   queues with `rejectPublish`. Without it a crash at the wrong moment loses the message.
    package func deadLetter(to exchange: String, routingKey: String? = nil, atLeastOnce: Bool = true) -> QueueArguments
    {
        var arguments = with("x-dead-letter-exchange", .string(exchange))
        if let routingKey { arguments = arguments.with("x-dead-letter-routing-key", .string(routingKey)) }
        return atLeastOnce ? arguments.with("x-dead-letter-strategy", "at-least-once") : arguments
    }

    /// Any other argument.
    package func with(_ name: String, _ value: FieldValue) -> QueueArguments {
        var copy = self
        copy.fields[name] = value
        return copy
    }
}

/// A route from an exchange to a queue or to another exchange.
package struct Binding: Sendable, Hashable {
    /// Where a binding leads.
    package enum Target: Sendable, Hashable {
        case queue(String)
        case exchange(String)
    }

    /// The exchange that messages come from.
    package var source: String
    /// Where they go.
    package var target: Target
    /// What the exchange compares with a message's routing key; the weight for a consistent-hash exchange.
    package var routingKey: String
    /// Further arguments.
    package var arguments: [String: FieldValue]

    package init(
        from source: String, to target: Target, routingKey: String = "", arguments: [String: FieldValue] = [:]
    ) {
        self.source = source
        self.target = target
        self.routingKey = routingKey
        self.arguments = arguments
    }
}

/// Exchanges, queues and bindings that belong together. Declaring what is there already changes nothing.
package struct Topology: Sendable, Hashable {
    /// Declared first.
    package var exchanges: [Exchange]
    /// Declared second.
    package var queues: [Queue]
    /// Declared last.
    package var bindings: [Binding]

    package init(exchanges: [Exchange] = [], queues: [Queue] = [], bindings: [Binding] = []) {
        self.exchanges = exchanges
        self.queues = queues
        self.bindings = bindings
    }

    /// Both together.
    package static func + (left: Topology, right: Topology) -> Topology {
        Topology(
            exchanges: left.exchanges + right.exchanges, queues: left.queues + right.queues,
            bindings: left.bindings + right.bindings)
    }

    var calls: [MethodCall] {
        exchanges.map { .declareExchange($0, passive: false) } + queues.map { .declareQueue($0, passive: false) }
            + bindings.map { .bind($0) }
    }
}

/// How full a queue is.
package struct QueueCounts: Sendable, Hashable {
    /// Messages ready to be delivered; those that a consumer holds are not counted.
    package let messages: Int
    /// Consumers; with a single active consumer, those that stand by are counted too.
    package let consumers: Int

    package init(messages: Int, consumers: Int) {
        self.messages = messages
        self.consumers = consumers
    }
}
