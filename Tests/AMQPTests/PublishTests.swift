import AMQP
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct PublishTests {
    @Test func `five thousand messages are confirmed and arrive in order`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q", arguments: .quorum)]))
                let messages = (0..<5000).map { Publishing.to("q", "\($0)") }
                let results = try await connection.publish(messages)
                #expect(results.count == 5000)
                #expect(results.allSatisfy { $0 == .confirmed })
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 500))
                for number in 0..<5000 {
                    let delivery = try await inbox.next()
                    connection.ack([delivery.deliveryTag])
                    guard delivery.text == "\(number)" else {
                        Issue.record("\(delivery.text) where \(number) was due")
                        return
                    }
                }
            }
        }
    }

    @Test func `calls from many tasks get their own results`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<40 {
                        group.addTask {
                            let key = number.isMultiple(of: 2) ? "q" : "nowhere"
                            let results = try await connection.publish((0..<25).map { .to(key, "\(number).\($0)") })
                            let expected: PublishResult =
                                key == "q" ? .confirmed : .returned(code: 312, text: "NO_ROUTE")
                            #expect(results == Array(repeating: expected, count: 25))
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(try await connection.passiveDeclare(queue: "q").messages == 500)
            }
        }
    }

    @Test func `an unroutable message is returned, its neighbours are confirmed`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let results = try await connection.publish([.to("q", "1"), .to("nowhere", "2"), .to("q", "3")])
                #expect(results == [.confirmed, .returned(code: 312, text: "NO_ROUTE"), .confirmed])
            }
        }
    }

    @Test func `without mandatory an unroutable message is lost in silence`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                var message = Publishing.to("nowhere", "1")
                message.mandatory = false
                let results = try await connection.publish([message])
                #expect(results == [.confirmed])
            }
        }
    }

    @Test func `a full queue nacks what it refuses`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                let queue = Queue("q", arguments: .quorum.maxLength(3).rejectPublish)
                try await connection.declare(Topology(queues: [queue]))
                var results: [PublishResult] = []
                while results.last != .nacked, results.count < 100 {
                    results += try await connection.publish([.to("q", "\(results.count)")])
                }
                #expect(results.last == .nacked)
                #expect(results.dropLast().allSatisfy { $0 == .confirmed })
                try await connection.purge(queue: "q")
                try await eventually("the emptied queue takes messages again") {
                    try await connection.publish([.to("q", "again")]) == [.confirmed]
                }
            }
        }
    }

    @Test func `a missing exchange costs the batch and not the connection`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let stray = Publishing(exchange: "missing", routingKey: "", body: [])
                let error = try await #require(throws: AMQPError.self) {
                    try await connection.publish([.to("q", "1"), stray])
                }
                #expect(error.code == .channelClosed)
                #expect(error.replyCode == 404)
                #expect(error.reason.contains("no exchange 'missing'"))
                #expect(connection.isOpen)
                #expect(try await connection.publish([.to("q", "2")]) == [.confirmed])
            }
        }
    }

    @Test func `what the protocol cannot carry is refused before anything is sent`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let long = String(repeating: "x", count: 256)
                var large = Publishing.to("q", "large")
                large.headers = ["h": .string(String(repeating: "x", count: 70_000))]
                var named = Publishing.to("q", "named")
                named.headers = ["h": .table([long: true])]
                for message in [Publishing.to(long, "x"), large, named] {
                    let error = try await #require(throws: AMQPError.self) {
                        try await connection.publish([.to("q", "first"), message])
                    }
                    #expect(error.code == .invalidArgument)
                }
                #expect(try await connection.publish([]) == [])
                #expect(try await connection.passiveDeclare(queue: "q").messages == 0)
            }
        }
    }

    @Test func `a body of many frames arrives whole`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let body = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                let results = try await connection.publish([
                    Publishing(exchange: "", routingKey: "q", body: body),
                    Publishing(exchange: "", routingKey: "q", body: []),
                ])
                #expect(results == [.confirmed, .confirmed])
                let inbox = Inbox(try await connection.consume(queues: ["q"], prefetch: 2))
                #expect(try await inbox.next().body == body)
                #expect(try await inbox.next().body.isEmpty)
            }
        }
    }
}
