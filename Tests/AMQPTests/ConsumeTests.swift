import AMQP
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConsumeTests {
    @Test func `every property and header makes the round trip`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(
                    Topology(
                        exchanges: [Exchange("x", .topic)], queues: [Queue("q", arguments: .quorum)],
                        bindings: [Binding(from: "x", to: .queue("q"), routingKey: "a.#")]))
                let message = Publishing(
                    exchange: "x", routingKey: "a.b", messageID: "m-1", correlationID: "c-1", type: "created",
                    contentType: "application/json", timestamp: 1_700_000_000,
                    headers: [
                        "text": "grüße", "number": -7, "big": .int(.max), "half": .double(0.5), "yes": true,
                        "no": false, "when": .timestamp(1_600_000_000), "raw": .bytes([0, 255]), "nothing": .null,
                        "table": .table(["inner": .table(["deep": 1]), "empty": .table([:])]),
                        "array": .array([1, "two", .array([true])]), "none": .array([]), "blank": "",
                    ],
                    body: Array("{}".utf8))
                #expect(try await connection.publish([message]) == [.confirmed])
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 10))
                let delivery = try await inbox.next()
                #expect(delivery.queue == "q")
                #expect(!delivery.redelivered)
                #expect(delivery.exchange == "x")
                #expect(delivery.routingKey == "a.b")
                #expect(delivery.messageID == "m-1")
                #expect(delivery.correlationID == "c-1")
                #expect(delivery.type == "created")
                #expect(delivery.contentType == "application/json")
                #expect(delivery.timestamp == 1_700_000_000)
                #expect(delivery.headers == message.headers)
                #expect(delivery.text == "{}")
                connection.ack([delivery.deliveryTag])
            }
        }
    }

    @Test func `what was left out stays absent`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                _ = try await connection.publish([Publishing(exchange: "", routingKey: "q", body: [1])])
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 1))
                let delivery = try await inbox.next()
                #expect(delivery.messageID == nil)
                #expect(delivery.correlationID == nil)
                #expect(delivery.type == nil)
                #expect(delivery.contentType == nil)
                #expect(delivery.timestamp == nil)
                #expect(delivery.headers.isEmpty)
            }
        }
    }

    @Test func `the prefetch count holds back what is not acked`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                _ = try await connection.publish((0..<10).map { .to("q", "\($0)") })
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 4))
                let first = try await inbox.take(4)
                try await eventually("six messages wait") {
                    try await connection.passiveDeclare(queue: "q").messages == 6
                }
                connection.ack([first[0].deliveryTag, first[2].deliveryTag])
                #expect(try await inbox.take(2).map(\.text) == ["4", "5"])
            }
        }
    }

    @Test func `acked messages are gone, others come again in order`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q", arguments: .quorum)]))
                _ = try await connection.publish((0..<8).map { .to("q", "\($0)") })
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 8))
                let tags = try await inbox.take(8).map(\.deliveryTag)
                connection.ack([tags[0], tags[1], tags[3], tags[6]])
            }
            try await withConnection(url) { connection in
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 8))
                let again = try await inbox.take(4)
                #expect(again.map(\.text) == ["2", "4", "5", "7"])
                #expect(again.allSatisfy { $0.redelivered })
                #expect(again[0].headers["x-delivery-count"] == .int(1))
            }
        }
    }

    @Test func `a rejected message comes again, or goes to the dead letters`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let work = QueueArguments.quorum.rejectPublish.deadLetter(to: "", routingKey: "dead")
                try await connection.declare(
                    Topology(queues: [Queue("q", arguments: work), Queue("dead", arguments: .quorum)]))
                _ = try await connection.publish([.to("q", "1")])
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 1))
                connection.reject(try await inbox.next().deliveryTag, requeue: true)
                let again = try await inbox.next()
                #expect(again.redelivered)
                connection.reject(again.deliveryTag, requeue: false)
                let dead = Inbox(try await connection.consume(queues: ["dead"], prefetch: 1))
                let letter = try await dead.next()
                #expect(letter.text == "1")
                guard case .array(let deaths) = letter.headers["x-death"], case .table(let death) = deaths.first else {
                    Issue.record("no x-death among \(letter.headers)")
                    return
                }
                #expect(death["queue"] == "q")
                #expect(death["reason"] == "rejected")
            }
        }
    }

    @Test func `two consumers of one connection keep their tags apart`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("a"), Queue("b"), Queue("c")]))
                _ = try await connection.publish([.to("a", "1"), .to("b", "2"), .to("c", "3")])
                let consumer = try await connection.openConsumer(queues: ["a", "b"], prefetch: 5)
                let both = Inbox(consumer.deliveries)
                let single = Inbox(try await connection.consume(queues: ["c"], prefetch: 5))
                let fromBoth = try await both.take(2)
                let fromSingle = try await single.next()
                #expect(Set(fromBoth.map(\.queue)) == ["a", "b"])
                #expect(fromSingle.queue == "c")
                #expect(Set((fromBoth + [fromSingle]).map(\.deliveryTag)).count == 3)
                connection.ack([fromSingle.deliveryTag])
                // Acked twice, and by a tag that never was: neither may cost the channel.
                connection.ack([fromSingle.deliveryTag, fromSingle.deliveryTag + 1, 0])
                await consumer.close()
                #expect(consumer.failure == nil)
                #expect(await both.rest().isEmpty)
                connection.ack(fromBoth.map(\.deliveryTag))
                #expect(try await connection.passiveDeclare(queue: "a").messages == 1)
                #expect(try await connection.passiveDeclare(queue: "b").messages == 1)
                _ = try await connection.publish([.to("c", "4")])
                #expect(try await single.next().text == "4")
                #expect(connection.isOpen)
            }
        }
    }

    @Test func `closing a consumer sends its acks first`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q", arguments: .quorum)]))
                _ = try await connection.publish((0..<100).map { .to("q", "\($0)") })
                let consumer = try await connection.openConsumer(queues: ["q"], prefetch: 100)
                let inbox = Inbox(consumer.deliveries)
                for delivery in try await inbox.take(99) { connection.ack([delivery.deliveryTag]) }
                await consumer.close()
                await consumer.close()
                try await eventually("the unacked message is back") {
                    try await connection.passiveDeclare(queue: "q").messages == 1
                }
            }
        }
    }

    @Test func `a deleted queue ends its consumer with the reason`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let consumer = try await connection.openConsumer(queues: ["q"], prefetch: 1)
                try await connection.delete(queue: "q")
                let inbox = Inbox(consumer.deliveries)
                #expect(await inbox.rest().isEmpty)
                #expect(consumer.failure?.code == .consumerCancelled)
                #expect(consumer.failure?.reason.contains("'q'") == true)
                #expect(connection.isOpen)
            }
        }
    }

    @Test func `a queue that is missing or taken is refused with the broker's words`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let missing = try await #require(throws: AMQPError.self) {
                    try await connection.consume(queues: ["missing"], prefetch: 1)
                }
                #expect(missing.replyCode == 404)
                try await connection.declare(Topology(queues: [Queue("q")]))
                let first = try await connection.openConsumer(queues: ["q"], prefetch: 1, exclusive: true)
                let taken = try await #require(throws: AMQPError.self) {
                    try await connection.consume(queues: ["q"], prefetch: 1)
                }
                #expect(taken.replyCode == 403)
                await first.close()
                _ = try await connection.consume(queues: ["q"], prefetch: 1)
            }
        }
    }

    @Test func `a single active consumer hands over in order when it closes`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { first in
                try await first.declare(
                    Topology(queues: [Queue("q", arguments: .quorum.singleActiveConsumer)]))
                let active = Inbox(try await first.consume(queues: ["q"], prefetch: 10))
                try await withConnection(url) { second in
                    let standby = Inbox(try await second.consume(queues: ["q"], prefetch: 10))
                    _ = try await second.publish((0..<50).map { .to("q", "\($0)") })
                    let seen = try await active.take(10)
                    #expect(seen.map(\.text) == (0..<10).map { "\($0)" })
                    first.ack(seen.prefix(4).map(\.deliveryTag))
                    #expect(try await active.take(4).map(\.text) == (10..<14).map { "\($0)" })
                    await first.close()
                    for number in 4..<50 {
                        let delivery = try await standby.next()
                        #expect(delivery.text == "\(number)")
                        #expect(delivery.redelivered == (number < 14))
                        second.ack([delivery.deliveryTag])
                    }
                }
            }
        }
    }
}
