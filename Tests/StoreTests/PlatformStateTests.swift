import Domain
import Postgres
import Store
import TestSupport
import Testing

@Suite struct PlatformStateTests {
    @Test func `an empty platform is told as zeros, not as silence`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let state = try Self.look(connection)
            #expect(Set(state.tasks.map(\.of)) == Set(TaskStatus.allCases.filter { !$0.isFinal }.map { [$0.rawValue] }))
            #expect(state.tasks.allSatisfy { $0.count == 0 && $0.oldestSeconds == 0 })
            #expect(state.nodes.first { $0.of == ["ready"] }?.count == 1)
            #expect(state.places == 100)
            #expect(state.slotsUsed == 0)
            #expect(state.outbox == Tally(of: ["outbox"]))
            #expect(Set(state.deadLetters.map(\.of)) == [["fanout"], ["orchestrator"]])
            #expect(
                Set(state.effects.map(\.of)) == [["forge", "planned"], ["forge", "sending"], ["forge", "unknown"]])
            #expect(state.database.bytes > 1_000_000 && state.database.connections >= 1)
            #expect(state.database.maxConnections > state.database.connections)
        }
    }

    @Test func `tasks, slots and users are counted as admission sees them`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let working = try fixture.submit(connection)
            let waiting = try fixture.submit(connection)
            try Self.move(working, "HYDRATING", connection)
            try Self.move(waiting, "QUEUED", connection)
            try connection.query("UPDATE repos SET max_concurrent = 2")
            var state = try Self.look(connection, userSlots: 2)
            #expect(state.tasks.first { $0.of == ["QUEUED"] }?.count == 1)
            #expect(state.slotsUsed == 1)
            #expect(state.repos.map(\.repo) == ["acme/shop"])
            #expect(state.repos.map(\.used) == [1] && state.repos.map(\.limit) == [2])
            #expect(state.users.map(\.count) == [1, 1, 0])
            #expect(state.outbox.count == 4)
            #expect(state.outbox.oldestSeconds > 0)
            state = try Self.look(connection, userSlots: 1)
            #expect(state.users.map(\.of) == [["waiting"], ["working"], ["full"]])
            #expect(state.users.map(\.count) == [1, 1, 1])
        }
    }

    @Test func `a node that is silent or draining offers no places`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            try connection.query(
                """
                INSERT INTO compute_nodes (node, backend, capacity, last_seen, draining) VALUES
                    ('n2', 'process', 7, clock_timestamp() - interval '2 minutes', false),
                    ('n3', 'process', 7, clock_timestamp(), true),
                    ('n4', 'process', 7, clock_timestamp() - interval '3 days', false)
                """)
            let state = try Self.look(connection)
            #expect(state.places == 100)
            let counts = Dictionary(uniqueKeysWithValues: state.nodes.map { ($0.of[0], $0.count) })
            #expect(counts == ["ready": 1, "silent": 1, "draining": 1])
        }
    }

    @Test func `what waits or was put aside is told by consumer and channel`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try fixture.submit(connection).rawValue
            try ChannelStore.register(RegisteredChannel(name: "slack", defaultEvents: []), in: connection)
            try connection.query(
                """
                INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload, planned_at, state, sent_at)
                VALUES ('a', \(task), 'slack', 'C1', 'pr_created', '{}', now() - interval '5 minutes', 'planned', NULL),
                    ('b', \(task), 'slack', 'C1', 'pr_created', '{}', now() - interval '9 minutes', 'sent', now())
                """)
            try ConsumerStore.deadLetter(
                "fanout", queue: "fanout.0", task: task, seq: 1, messageID: nil, reason: "x", body: "{}", in: connection
            )
            try connection.query(
                """
                INSERT INTO parked_messages (consumer, task_id, seq, queue, message, reason, due_at, parked_at)
                VALUES ('dispatch.slack', \(task), 2, 'q', '{}', 'waits', now(), now() - interval '1 minute')
                """)
            let state = try Self.look(connection)
            let planned = try #require(state.effects.first { $0.of == ["slack", "planned"] })
            #expect(planned.count == 1)
            #expect((299...400).contains(planned.oldestSeconds))
            #expect(state.effects.first { $0.of == ["slack", "unknown"] }?.count == 0)
            #expect(state.deadLetters.first { $0.of == ["fanout"] }?.count == 1)
            #expect(state.deadLetters.first { $0.of == ["dispatch.slack"] }?.count == 0)
            let parked = try #require(state.parked.first { $0.of == ["dispatch.slack"] })
            #expect(parked.count == 1 && parked.oldestSeconds >= 59)
        }
    }

    @Test func `a push is counted once, when it can no longer be overtaken`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try fixture.submit(connection).rawValue
            func push(_ verdict: String, secondsAgo: Int64) throws {
                try connection.query(
                    """
                    INSERT INTO git_pushes (push_id, task_id, attempt, ref, old_sha, new_sha, verdict)
                    VALUES (new_ulid(now_ms() - \(secondsAgo * 1000)), \(task), 1, 'r', 'a', 'b', \(verdict))
                    """)
            }
            var cursor = PushCursor()
            try push("refused", secondsAgo: 60)
            #expect(try cursor.advance(in: connection).isEmpty)
            // Its place is five seconds back: what is made now is counted once that time has passed.
            try push("accepted", secondsAgo: 0)
            try push("refused", secondsAgo: 0)
            try push("refused", secondsAgo: 0)
            var counted: [String: Int64] = [:]
            try await eventually("all pushes are counted", within: .seconds(20)) {
                for (verdict, count) in try cursor.advance(in: connection) { counted[verdict, default: 0] += count }
                return counted.values.reduce(0, +) >= 3
            }
            #expect(counted == ["accepted": 1, "refused": 2])
            #expect(try cursor.advance(in: connection).isEmpty)
        }
    }

    private static func look(_ connection: Connection, userSlots: Int = 3) throws -> PlatformState {
        try PlatformState(userSlots: userSlots, nodeSilence: 30, in: connection)
    }

    private static func move(_ task: TaskID, _ status: String, _ connection: Connection) throws {
        try connection.query("UPDATE tasks SET status = \(status) WHERE task_id = \(task.rawValue)")
    }
}
