import AMQP
import Lifecycle
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
    @Test func `a wrong password is told apart from a missing virtual host`() async throws {
        try await withScratchVhost { url in
            var config = try AMQPConfig(url: url)
            config.password = "wrong"
            let wrong = config
            let password = try await #require(throws: AMQPError.self) { try await AMQPConnection.open(wrong) }
            #expect(password.code == .loginRefused)
            #expect(password.replyCode == 403)
            #expect(!password.description.contains("wrong"))
            config = try AMQPConfig(url: url)
            config.vhost = "missing"
            let missing = config
            let vhost = try await #require(throws: AMQPError.self) { try await AMQPConnection.open(missing) }
            #expect(vhost.code == .loginRefused)
            #expect(vhost.replyCode == 530)
            #expect(vhost.reason.contains("missing"))
        }
    }

    @Test(arguments: ["amqp://127.0.0.1:1/", "amqp://no-such-host.invalid/"])
    func `a broker that is not there is unreachable, and worth another try`(url: String) async throws {
        let error = try await #require(throws: AMQPError.self) {
            try await AMQPConnection.open(try AMQPConfig(url: url))
        }
        #expect(error.code == .unreachable)
        #expect(error.isRetryable)
    }

    @Test func `a broker that never answers is given up at the connect timeout`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                line.freeze()
                var config = try AMQPConfig(url: line.url)
                config.connectTimeout = .milliseconds(300)
                let impatient = config
                // It never will: without the timeout the test does not end.
                let error = try await #require(throws: AMQPError.self) { try await AMQPConnection.open(impatient) }
                #expect(error.code == .unreachable)
            }
        }
    }

    @Test func `an operator who closes the connection ends every call and every stream`() async throws {
        try await withScratchVhost { url in
            let broker = try BrokerAPI()
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q")]))
                let consumer = try await connection.openConsumer(queues: ["q"], prefetch: 1)
                let seen = try await eventually("the broker lists the connection") {
                    try await broker.connections(toVhost: broker.vhost(ofURL: url)).first
                }
                async let ended: Void = connection.waitUntilClosed()
                try await broker.close(seen)
                let inbox = Inbox(consumer.deliveries)
                #expect(await inbox.rest().isEmpty)
                await ended
                let failure = try #require(connection.failure)
                #expect(failure.code == .connectionLost)
                #expect(failure.replyCode == 320)
                #expect(failure.reason.contains("CONNECTION_FORCED"))
                #expect(consumer.failure == failure)
                #expect(!connection.isOpen)
                let late = await #expect(throws: AMQPError.self) {
                    try await connection.publish([.to("q", "late")])
                }
                #expect(late == failure)
            }
        }
    }

    @Test func `a line that breaks fails what was pending`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                try await withConnection(line.url) { connection in
                    try await connection.declare(Topology(queues: [Queue("q")]))
                    let deliveries = try await connection.consume(queues: ["q"], prefetch: 1)
                    line.freeze()
                    let published = Task { try await connection.publish([.to("q", "1")]) }
                    let declared = Task { try await connection.declare(Topology(queues: [Queue("other")])) }
                    line.cut()
                    let first = await #expect(throws: AMQPError.self) { _ = try await published.value }
                    let second = await #expect(throws: AMQPError.self) { try await declared.value }
                    #expect(first?.code == .connectionLost)
                    #expect(second?.isConnectionLost == true)
                    let inbox = Inbox(deliveries)
                    #expect(await inbox.rest().isEmpty)
                }
            }
        }
    }

    @Test func `a broker that falls silent is noticed by its heartbeats`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                try await withConnection(line.url, heartbeat: 1) { connection in
                    try await connection.declare(Topology(queues: [Queue("q")]))
                    line.freeze()
                    let error = await #expect(throws: AMQPError.self) {
                        try await connection.publish([.to("q", "1")])
                    }
                    #expect(error?.code == .heartbeatMissed)
                }
            }
        }
    }

    @Test func `heartbeats keep an idle connection alive`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { clock in
                // The broker keeps the time: it hands the message on after three and a half heartbeats of silence.
                let waiting = QueueArguments().messageTimeToLive(.milliseconds(3500))
                    .deadLetter(to: "", routingKey: "due", atLeastOnce: false)
                try await clock.declare(Topology(queues: [Queue("waiting", arguments: waiting), Queue("due")]))
                try await withConnection(url, heartbeat: 1) { idle in
                    let inbox = Inbox(try await idle.consume(queues: ["due"], prefetch: 1))
                    _ = try await clock.publish([.to("waiting", "1")])
                    #expect(try await inbox.next().text == "1")
                    #expect(idle.isOpen)
                }
            }
        }
    }

    @Test func `publishers wait while the broker is short of memory`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                try await withConnection(line.url) { connection in
                    try await connection.declare(Topology(queues: [Queue("q")]))
                    // connection.blocked("low on memory"), then connection.unblocked, frame by frame.
                    let reason = Array("low on memory".utf8)
                    line.speak([1, 0, 0, 0, 0, 0, UInt8(reason.count + 5), 0, 10, 0, 60, UInt8(reason.count)])
                    line.speak(reason + [0xCE])
                    try await eventually("the connection is blocked") { connection.isBlocked }
                    let published = Task { try await connection.publish([.to("q", "1")]) }
                    // Topology is still answered, so the message had its chance to get through.
                    for _ in 1...3 { #expect(try await connection.passiveDeclare(queue: "q").messages == 0) }
                    line.speak([1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 61, 0xCE])
                    #expect(try await published.value == [.confirmed])
                    #expect(!connection.isBlocked)
                }
            }
        }
    }

    @Test func `close waits for the confirms that are on their way`() async throws {
        try await withScratchVhost { url in
            try await withConnection(url) { connection in
                try await connection.declare(Topology(queues: [Queue("q", arguments: .quorum)]))
                let published = Task { try await connection.publish((0..<500).map { .to("q", "\($0)") }) }
                try await eventually("the first messages are there") {
                    try await connection.passiveDeclare(queue: "q").messages > 0
                }
                await connection.close()
                let results = try await published.value
                #expect(results.allSatisfy { $0 == .confirmed })
            }
        }
    }

    @Test func `close is one end for everyone who calls it`() async throws {
        try await withScratchVhost { url in
            let connection = try await AMQPConnection.open(try AMQPConfig(url: url))
            try await connection.declare(Topology(queues: [Queue("q")]))
            let consumer = try await connection.openConsumer(queues: ["q"], prefetch: 1)
            await withTaskGroup(of: Void.self) { group in
                for _ in 1...8 { group.addTask { await connection.close() } }
            }
            await connection.close()
            await consumer.close()
            let inbox = Inbox(consumer.deliveries)
            #expect(await inbox.rest().isEmpty)
            #expect(connection.failure?.code == .closed)
            connection.ack([1])
            let error = await #expect(throws: AMQPError.self) { try await connection.passiveDeclare(queue: "q") }
            #expect(error?.code == .closed)
        }
    }

    @Test func `close is over in time although nobody answers`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                var config = try AMQPConfig(url: line.url)
                config.closeTimeout = .milliseconds(400)
                config.heartbeat = 60
                let connection = try await AMQPConnection.open(config)
                try await connection.declare(Topology(queues: [Queue("q")]))
                line.freeze()
                let began = ContinuousClock.now
                await connection.close()
                // Before the heartbeats would notice.
                #expect(began.duration(to: .now) < .seconds(60))
            }
        }
    }

    @Test func `close ends a write that nobody reads`() async throws {
        try await withScratchVhost { url in
            try await withLine(to: url) { line in
                var config = try AMQPConfig(url: line.url)
                config.closeTimeout = .milliseconds(400)
                config.heartbeat = 60
                let connection = try await AMQPConnection.open(config)
                try await connection.declare(Topology(queues: [Queue("q")]))
                line.freeze()
                let huge = Publishing(exchange: "", routingKey: "q", body: [UInt8](repeating: 1, count: 64 << 20))
                let published = Task { try await connection.publish([huge]) }
                let began = ContinuousClock.now
                await connection.close()
                #expect(began.duration(to: .now) < .seconds(60))
                let error = await #expect(throws: AMQPError.self) { _ = try await published.value }
                #expect(error?.isConnectionLost == true)
            }
        }
    }

    @Test func `a dropped connection closes by itself`() async throws {
        try await withScratchVhost { url in
            let deliveries: AsyncStream<[Delivery]>
            do {
                let connection = try await AMQPConnection.open(try AMQPConfig(url: url))
                try await connection.declare(Topology(queues: [Queue("q", exclusive: true)]))
                deliveries = try await connection.consume(queues: ["q"], prefetch: 1)
            }
            let inbox = Inbox(deliveries)
            #expect(await inbox.rest().isEmpty)
        }
    }
}
