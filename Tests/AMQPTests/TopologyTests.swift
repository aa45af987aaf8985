import AMQP
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct TopologyTests {
    /// One stream of messages, spread over partitions by what they belong to.
    private func partitioned(_ name: String, partitions: Int) -> Topology {
        let queues = (0..<partitions).map { "\(name).\($0)" }
        let arguments = QueueArguments.quorum.singleActiveConsumer.deliveryLimit(1_000_000).rejectPublish
            .deadLetter(to: "dead-letters", routingKey: name)
        return Topology(
            exchanges: [
                Exchange("events", .topic), Exchange("dead-letters", .topic),
                Exchange("\(name).by-key", .xConsistentHash(hashProperty: "correlation_id")),
            ],
            queues: queues.map { Queue($0, arguments: arguments) },
            bindings: [Binding(from: "events", to: .exchange("\(name).by-key"), routingKey: "#")]
                + queues.map { Binding(from: "\(name).by-key", to: .queue($0), routingKey: "1") })
    }

    @Test func `what belongs together shares a partition, in order, and every partition has a share`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let topology = partitioned("work", partitions: 4)
                try await connection.declare(topology)
                try await connection.declare(topology)
                let keys = (0..<60).map { "key-\($0)" }
                let messages = (0..<5).flatMap { round in
                    keys.map { key in
                        Publishing(
                            exchange: "events", routingKey: "\(key).created", messageID: "\(key)/\(round)",
                            correlationID: key, body: Array("\(round)".utf8))
                    }
                }
                let results = try await connection.publish(messages)
                #expect(results.allSatisfy { $0 == .confirmed })
                let queues = topology.queues.map(\.name)
                let inbox = Inbox(try await connection.consume(queues: queues, prefetch: messages.count))
                var partition: [String: String] = [:]
                var rounds: [String: [String]] = [:]
                for delivery in try await inbox.take(messages.count) {
                    let key = try #require(delivery.correlationID)
                    #expect(partition[key] == nil || partition[key] == delivery.queue)
                    partition[key] = delivery.queue
                    rounds[key, default: []].append(delivery.text)
                    connection.ack([delivery.deliveryTag])
                }
                #expect(rounds.count == keys.count)
                #expect(rounds.values.allSatisfy { $0 == ["0", "1", "2", "3", "4"] })
                #expect(Set(partition.values) == Set(queues))
            }
        }
    }

    @Test func `a bounded hint queue keeps the newest`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let arguments = QueueArguments().maxLength(3).dropHead
                let queue = Queue("hints", durable: false, exclusive: true, autoDelete: true, arguments: arguments)
                try await connection.declare(
                    Topology(
                        exchanges: [Exchange("all", .fanout), Exchange("one", .direct)], queues: [queue],
                        bindings: [
                            Binding(from: "all", to: .queue("hints")),
                            Binding(from: "one", to: .exchange("all"), routingKey: "k"),
                        ]))
                for number in 0..<5 {
                    let hint = Publishing(exchange: "one", routingKey: "k", body: Array("\(number)".utf8))
                    #expect(try await connection.publish([hint]) == [.confirmed])
                }
                let inbox = Inbox(try await connection.consume(queues: ["hints"], prefetch: 5))
                #expect(try await inbox.take(3).map(\.text) == ["2", "3", "4"])
            }
        }
    }

    @Test func `declaring something else under a taken name is refused, and the connection lives on`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q", arguments: .quorum)]))
                let error = try await #require(throws: AMQPError.self) {
                    try await connection.declare(Topology(queues: [Queue("q")]))
                }
                #expect(error.code == .channelClosed)
                #expect(error.replyCode == 406)
                #expect(error.reason.contains("x-queue-type"))
                #expect(connection.isOpen)
                #expect(try await connection.passiveDeclare(queue: "q").messages == 0)
            }
        }
    }

    @Test func `one caller's mistake does not fail another's call`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<20 {
                        group.addTask {
                            try await connection.declare(Topology(queues: [Queue("q\(number)")]))
                        }
                        group.addTask {
                            let error = await #expect(throws: AMQPError.self) {
                                try await connection.passiveDeclare(queue: "missing\(number)")
                            }
                            #expect(error?.replyCode == 404)
                            #expect(error?.reason.contains("missing\(number)'") == true)
                        }
                    }
                    try await group.waitForAll()
                }
                for number in 0..<20 { try await connection.passiveDeclare(queue: "q\(number)") }
            }
        }
    }

    @Test func `counts, purges, unbinds and deletes`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let binding = Binding(from: "x", to: .queue("q"), routingKey: "k")
                try await connection.declare(Topology(exchanges: [Exchange("x", .direct)], queues: [Queue("q")]))
                try await connection.bind(binding)
                let message = Publishing(exchange: "x", routingKey: "k", body: [])
                #expect(try await connection.publish([message, message]) == [.confirmed, .confirmed])
                let consumer = try await connection.openConsumer(queues: ["q"], prefetch: 1)
                try await eventually("one message is held") {
                    try await connection.passiveDeclare(queue: "q") == QueueCounts(messages: 1, consumers: 1)
                }
                await consumer.close()
                try await eventually("it is back") { try await connection.passiveDeclare(queue: "q").messages == 2 }
                #expect(try await connection.purge(queue: "q") == 2)
                try await connection.unbind(binding)
                #expect(try await connection.publish([message]) == [.returned(code: 312, text: "NO_ROUTE")])
                try await connection.passiveDeclare(exchange: "x")
                try await connection.delete(exchange: "x")
                try await connection.delete(queue: "q")
                let exchange = await #expect(throws: AMQPError.self) {
                    try await connection.passiveDeclare(exchange: "x")
                }
                #expect(exchange?.replyCode == 404)
                let queue = await #expect(throws: AMQPError.self) { try await connection.passiveDeclare(queue: "q") }
                #expect(queue?.replyCode == 404)
            }
        }
    }
}
