import AMQP
import Domain
@testable import Messaging
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite(.serialized, .timeLimit(.minutes(6)))
struct RelayTests {
    @Test func `the first message of a new database is published`() async throws {
        try await Spine.with { spine in
            let arrived = try await Deliveries(spine, queues: TaskStream.events.queues)
            try await spine.withRunning(try spine.relay()) { relay in
                // The relay has looked at the empty outbox more than once when its shards are its own for a while.
                try await eventually("the relay owns its shards") { relay.lock.held.count == OutboxStore.shards }
                let connection = try spine.connection()
                let before = try spine.looks()
                try await eventually("it has looked") { try spine.looks() >= before + 5 }
                let task = try spine.submit(connection)
                try await eventually("event 1 arrives") { arrived.last(task) == 1 }
                try await eventually("the outbox is empty") { try spine.waiting() == 0 }
            }
            await arrived.stop()
        }
    }

    @Test func `what no queue takes holds back its own stream and task, however much of it there is`() async throws {
        try await Spine.with { spine in
            let connection = try spine.connection()
            let arrived = try await Deliveries(spine, queues: TaskStream.events.queues)
            let tasks = try (0..<30).map { _ in try spine.submit(connection) }
            try connection.query("DELETE FROM outbox")
            for task in tasks { try Self.insert("notifications", task, connection) }
            for task in tasks { try TaskLog.append(.agentTurn, to: task, attempt: 1, in: connection) }
            try connection.query("UPDATE outbox SET stream_seq = 1 WHERE stream = 'events'")
            var settings = RelaySettings()
            settings.batch = 10
            settings.holdBack = .milliseconds(300)
            try await spine.withRunning(try spine.relay(settings)) { _ in
                for task in tasks { try await eventually("its event arrives") { arrived.last(task) == 1 } }
                try await eventually("only what nobody takes stays") { try spine.waiting() == tasks.count }
                let admin = try await AMQPConnection.open(AMQPConfig(url: spine.broker))
                try await admin.declare(
                    Topology(
                        queues: [Queue("late", arguments: .quorum)],
                        bindings: [Binding(from: "notifications", to: .queue("late"), routingKey: "none.*")]))
                try await eventually("the rest has gone") { try spine.waiting() == 0 }
                try await eventually("it is in the queue") {
                    try await admin.passiveDeclare(queue: "late").messages == tasks.count
                }
                await admin.close()
            }
            await arrived.stop()
        }
    }

    @Test func `a missing exchange holds back its own messages only`() async throws {
        try await Spine.with { spine in
            let connection = try spine.connection()
            let arrived = try await Deliveries(spine, queues: TaskStream.events.queues)
            let task = try spine.submit(connection)
            try Self.insert("nowhere", task, connection)
            for _ in 2...5 { try TaskLog.append(.agentTurn, to: task, attempt: 1, in: connection) }
            var settings = RelaySettings()
            settings.holdBack = .milliseconds(100)
            try await spine.withRunning(try spine.relay(settings)) { _ in
                try await eventually("all events arrive") { arrived.last(task) == 5 }
                try await eventually("the one without an exchange stays") { try spine.waiting() == 1 }
                let admin = try await AMQPConnection.open(AMQPConfig(url: spine.broker))
                try await admin.declare(
                    Topology(
                        exchanges: [Exchange("nowhere", .topic)], queues: [Queue("late", arguments: .quorum)],
                        bindings: [Binding(from: "nowhere", to: .queue("late"), routingKey: "#")]))
                try await eventually("it goes when there is one") { try spine.waiting() == 0 }
                await admin.close()
            }
            #expect(arrived.ahead.isEmpty)
            await arrived.stop()
        }
    }

    @Test func `two relays never believe in the same shard, and a lost session moves its shards`() async throws {
        try await Spine.with { spine in
            let (one, two) = (try spine.relay(), try spine.relay())
            try await spine.withRunning(one) { _ in
                try await spine.withRunning(two) { _ in
                    for _ in 0..<5 {
                        try await eventually("every shard has an owner") {
                            let shared = Self.shared(one, two)
                            #expect(shared.isEmpty)
                            return one.lock.held.count + two.lock.held.count == OutboxStore.shards
                        }
                        let owner = one.lock.held.isEmpty ? two : one
                        let session = try #require(try await owner.lock.processID())
                        try spine.connection().query("SELECT pg_terminate_backend(\(session))")
                        try await eventually("the owner knows of its loss or has them anew") {
                            #expect(Self.shared(one, two).isEmpty)
                            return try await owner.lock.processID() != session
                        }
                    }
                }
            }
        }
    }

    /// Keys that both believed in at the same moment: what the first held before and after the second was asked.
    private static func shared(_ one: Running, _ two: Running) -> Set<Int64> {
        let before = one.lock.held
        let other = two.lock.held
        return before.intersection(other).intersection(one.lock.held)
    }

    private static func insert(_ exchange: String, _ task: TaskID, _ connection: Connection) throws {
        try connection.query(
            """
            INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
                traceparent, payload)
            VALUES (outbox_shard(\(task.rawValue)), 'notifications.none', \(task.rawValue), 1, \(task.rawValue),
                \(exchange), \("none.\(task)"), 'x', 1, '', '{}')
            """)
    }
}

extension Spine {
    /// Rows that wait to be published.
    func waiting() throws -> Int { try count("SELECT count(*) FROM outbox") }

    /// How many transactions the database has seen: it grows with every look of a relay.
    func looks() throws -> Int {
        try count("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    }
}
