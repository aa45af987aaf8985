import Domain
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite struct ConsumerStoreTests {
    private let task = "01ARZ3NDEKTSV4RRFFQ69G5FB1"

    @Test func `a position says what is done, what is next and what is missing`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            #expect(try verdict(1, connection) == .next)
            #expect(try verdict(2, connection) == .ahead(expected: 1))
            #expect(try ConsumerStore.advance("c", task: task, to: 1, in: connection))
            #expect(try ConsumerStore.advance("c", task: task, to: 2, in: connection))
            #expect(try verdict(1, connection) == .past)
            #expect(try verdict(2, connection) == .past)
            #expect(try verdict(3, connection) == .next)
            #expect(try verdict(5, connection) == .ahead(expected: 3))
            #expect(try ConsumerStore.verdict("other", task: task, seq: 1, in: connection) == .next)
        }
    }

    @Test func `a step is taken once, by the next in order alone`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            for (seq, isTaken) in [(2, false), (1, true), (1, false), (3, false), (2, true), (1, false), (3, true)] {
                #expect(try ConsumerStore.advance("c", task: task, to: Int64(seq), in: connection) == isTaken)
            }
        }
    }

    @Test func `of eight that want the same step at once one gets it`() async throws {
        try await Fixture.with { fixture in
            let threads = IOThreads(name: "race", count: 8)
            for seq in 1...25 {
                let won = try await race(threads, 8) { _ in
                    try fixture.connection().transaction {
                        try ConsumerStore.advance("c", task: task, to: Int64(seq), in: $0)
                    }
                }
                #expect(won.filter { $0 }.count == 1)
            }
            await threads.stopped()
        }
    }

    @Test func `a parked message is ready when it is due and next`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            try park(2, connection)
            try park(3, connection)
            #expect(try ready(connection).isEmpty)
            _ = try ConsumerStore.advance("c", task: task, to: 1, in: connection)
            #expect(try ready(connection) == [2])
            try park(2, attempts: 3, inSeconds: 3600, connection)
            #expect(try ready(connection).isEmpty)
            try park(2, attempts: 1, connection)
            let again = try ConsumerStore.ready("c", queues: ["q"], limit: 10, in: connection)
            #expect(again.map(\.attempts) == [3], "a second parking takes no attempt back")
            #expect(again.map(\.message) == [#"{"a":1}"#])
            #expect(try ConsumerStore.ready("c", queues: ["other"], limit: 10, in: connection).isEmpty)
            _ = try ConsumerStore.advance("c", task: task, to: 2, in: connection)
            #expect(try ready(connection).sorted() == [2, 3], "what is done by now is handed out to be dropped")
            try ConsumerStore.unpark("c", task: task, through: 2, in: connection)
            #expect(try ready(connection) == [3])
        }
    }

    @Test(arguments: ["events", "commands"])
    func `a repair asks for what is missing and for nothing else`(stream: String) async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            for _ in 0..<2 {
                try TaskLog.append(.agentTurn, to: id, attempt: 1, in: connection)
                try TaskLog.send(.slotFree, to: id, attempt: 1, in: connection)
            }
            let before = try connection.query(
                """
                DELETE FROM outbox WHERE stream = \(stream) AND stream_seq = 2
                RETURNING message_id, payload::text, routing_key, type, shard::int
                """
            ).only()
            try connection.query("DELETE FROM outbox")
            let repair = { (seconds: Double) in
                try connection.transaction { tx in
                    try ConsumerStore.repair("c", stream: stream, queues: ["q"], afterSeconds: seconds, in: tx)
                }
            }
            #expect(try ConsumerStore.advance("c", task: id.rawValue, to: 1, in: connection))
            try park(3, of: id.rawValue, connection)
            #expect(try repair(3600) == 0)
            #expect(try repair(0) == 1)
            let made = try connection.query(
                "SELECT message_id, payload::text, routing_key, type, shard::int, stream_seq FROM outbox"
            ).only()
            #expect(try made.get("stream_seq") == Int64(2))
            for column in ["message_id", "payload", "routing_key", "type"] {
                #expect(try made.get(column, as: String.self) == before.get(column, as: String.self))
            }
            #expect(try made.get("shard", as: Int.self) == before.get("shard", as: Int.self))
            // The missing one waits itself: nothing is to be asked for.
            try park(2, of: id.rawValue, connection)
            #expect(try repair(0) == 0)
        }
    }

    @Test func `attempts are counted per message and forgotten`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            #expect(try ConsumerStore.attempts("c", messageID: "m", in: connection) == 0)
            for count in 1...3 {
                #expect(try ConsumerStore.countAttempt("c", messageID: "m", in: connection) == count)
            }
            #expect(try ConsumerStore.countAttempt("c", messageID: "n", in: connection) == 1)
            #expect(try ConsumerStore.attempts("c", messageID: "m", in: connection) == 3)
            try ConsumerStore.forgetAttempts("c", messageID: "m", in: connection)
            #expect(try ConsumerStore.attempts("c", messageID: "m", in: connection) == 0)
            #expect(try ConsumerStore.attempts("c", messageID: "n", in: connection) == 1)
        }
    }

    private func verdict(_ seq: Int64, _ connection: Connection) throws -> PositionVerdict {
        try ConsumerStore.verdict("c", task: task, seq: seq, in: connection)
    }

    private func park(
        _ seq: Int64, of other: String? = nil, attempts: Int = 0, inSeconds: Double = 0, _ connection: Connection
    ) throws {
        try ConsumerStore.park(
            "c", queue: "q", task: other ?? task, seq: seq, message: #"{"a":1}"#, attempts: attempts, reason: "r",
            inSeconds: inSeconds, in: connection)
    }

    private func ready(_ connection: Connection) throws -> [Int64] {
        try ConsumerStore.ready("c", queues: ["q"], limit: 10, in: connection).map(\.seq)
    }
}

/// Runs `body` on as many threads at once and returns what each returned.
func race<Result: Sendable>(
    _ threads: IOThreads, _ count: Int, _ body: @escaping @Sendable (Int) throws -> Result
) async throws -> [Result] {
    try await withThrowingTaskGroup(of: Result.self) { group in
        for index in 0..<count { group.addTask { try await threads.run { try body(index) } } }
        return try await group.reduce(into: []) { $0.append($1) }
    }
}
