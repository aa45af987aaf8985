import AMQP

/// One ordered stream of messages per task, and the queues that carry it.
package struct TaskStream: Sendable, Hashable {
    /// As the outbox names it: `events`, `commands`, `notifications.slack`.
    package let name: String
    package let exchange: String
    /// The consistent-hash exchange between the topic exchange and the partitions.
    package let byTask: String
    /// Partition queues are `<prefix>.0 … P-1`.
    package let queuePrefix: String
    package let binding: String

    /// Fixed: a change of it is a new generation of queues, with the relay paused and the old ones drained.
    package static let partitions = 8

    package static let commands = TaskStream(
        name: "commands", exchange: "task.commands", byTask: "task.commands.by-task", queuePrefix: "orchestrator",
        binding: "#")
    package static let events = TaskStream(
        name: "events", exchange: "task.events", byTask: "task.events.by-task", queuePrefix: "fanout", binding: "#")

    /// The stream of one notification channel.
    package static func notifications(_ channel: String) -> TaskStream {
        TaskStream(
            name: "notifications.\(channel)", exchange: "notifications", byTask: "notifications.\(channel).by-task",
            queuePrefix: "dispatch.\(channel)", binding: "\(channel).*")
    }

    package var queues: [String] { (0..<TaskStream.partitions).map { "\(queuePrefix).\($0)" } }

    /// Everything that has to exist for the stream. Declaring it again changes nothing.
    package var topology: Topology {
        let arguments = QueueArguments.quorum.singleActiveConsumer.deliveryLimit(1_000_000).rejectPublish
            .deadLetter(to: Exchanges.deadLetters, routingKey: queuePrefix)
        return Topology(
            exchanges: [
                Exchange(exchange, .topic), Exchange(byTask, .xConsistentHash(hashProperty: "correlation_id")),
            ],
            queues: queues.map { Queue($0, arguments: arguments) },
            bindings: [Binding(from: exchange, to: .exchange(byTask), routingKey: binding)]
                + queues.map { Binding(from: byTask, to: .queue($0), routingKey: "1") })
    }
}

/// Exchanges and queues beside the ordered streams.
package enum Exchanges {
    package static let compute = "compute.commands"
    package static let deadLetters = "dead-letters"

    /// The work queue of one compute backend. Its messages are hints, so a single plain quorum queue does.
    package static func startQueue(_ backend: String) -> String { "compute.start.\(backend)" }

    /// What `bgagent-migrate` declares; a channel's own stream is declared by its dispatcher.
    package static func platform(backends: [String]) -> Topology {
        let dead = Topology(
            exchanges: [Exchange(deadLetters, .topic), Exchange("notifications", .topic), Exchange(compute, .topic)],
            queues: [Queue(deadLetters, arguments: .quorum)],
            bindings: [Binding(from: deadLetters, to: .queue(deadLetters), routingKey: "#")])
        let start = Topology(
            queues: backends.map { Queue(startQueue($0), arguments: .quorum.deliveryLimit(1_000_000)) },
            bindings: backends.map {
                Binding(from: compute, to: .queue(startQueue($0)), routingKey: "start.\($0)")
            })
        return dead + start + TaskStream.commands.topology + TaskStream.events.topology
    }
}
