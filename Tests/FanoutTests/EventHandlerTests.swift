import Domain
import Messaging
import Notifications
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Fanout

@Suite struct EventHandlerTests {
    @Test func `an event becomes one ledger row and one message for each target, however often it comes`() async throws
    {
        try await Self.with { spine in
            let ledger = spine.ledger
            let task = try await ledger.submit()
            try await Self.append([.taskCreated, .agentTurn, .prCreated, .agentTurn, .taskFailed], to: task, ledger)
            try await Self.position(5, of: task, ledger)
            let planned = try await ledger.ledger(task)
            #expect(planned.map(\.type) == ["pr_created", "task_failed"])
            // Everything once more, as after a repair or from a relay that died between publish and delete.
            try await ledger.pool.run { connection in
                for seq in 1...5 {
                    try ConsumerStore.republish(
                        stream: "events", task: task.rawValue, seq: Int64(seq), in: connection)
                }
            }
            try await Self.append([.taskParked], to: task, ledger)
            try await Self.position(6, of: task, ledger)
            #expect(try await ledger.ledger(task) == planned)
            let sequences = try await ledger.pool.run { connection in
                try connection.query(
                    "SELECT stream_seq FROM effects WHERE task_id = \(task.rawValue) ORDER BY position"
                ).map { try $0.get("stream_seq", as: Int64.self) }
            }
            #expect(sequences == [1, 2])
        }
    }

    @Test func `a notification's id is the hash of event, channel and target`() async throws {
        try await Self.with { spine in
            let task = try await spine.ledger.submit()
            try await Self.append([.taskFailed], to: task, spine.ledger)
            try await Self.position(1, of: task, spine.ledger)
            let event = try await spine.ledger.pool.run { connection in
                try connection.query("SELECT event_id FROM task_events WHERE task_id = \(task.rawValue)").only()
                    .get("event_id", as: String.self)
            }
            let expected = try TaskNotification.id(event: event, channel: "test", target: "there")
            #expect(try await spine.ledger.ledger(task).map(\.id) == [expected])
        }
    }

    @Test func `the payload is what was known when the event was seen`() async throws {
        try await Self.with { spine in
            let ledger = spine.ledger
            let task = try await ledger.submit(description: "fix the test\nand more")
            try await ledger.pool.run { connection in
                try connection.query(
                    "UPDATE task_heads SET cost_usd = 0.42, turn = 7 WHERE task_id = \(task.rawValue)")
                try connection.query(
                    TaskLog.event(
                        .prCreated, of: task, attempt: 1,
                        ["pr_url": "https://github.com/acme/shop/pull/8", "pr_number": 8]))
            }
            try await Self.position(1, of: task, ledger)
            let text = try await ledger.pool.run { connection in
                try connection.query("SELECT payload::text FROM effects WHERE task_id = \(task.rawValue)").only()
                    .get("payload", as: String.self)
            }
            let subject = try JSONText.decode(TaskNotification.self, text).task
            #expect(subject.title == "fix the test")
            #expect(subject.costMicros == 420_000)
            #expect(subject.turns == 7)
            #expect(subject.pullRequest == 8)
            #expect(subject.pullRequestURL == "https://github.com/acme/shop/pull/8")
        }
    }

    @Test func `a channel that registers is told from then on`() async throws {
        try await Self.with { spine in
            let task = try await spine.ledger.submit()
            try await spine.ledger.pool.run { connection in
                try ChannelStore.register(
                    RegisteredChannel(name: "late", defaultEvents: ["task_cancelled"], defaultTarget: "x"),
                    in: connection)
            }
            try await eventually("the new channel is told") { () -> Bool in
                try await Self.append([.taskCancelled], to: task, spine.ledger)
                let lanes = try await spine.ledger.pool.run { try EffectStore.dueLanes("late", limit: 1, in: $0) }
                return lanes == [EffectLane(task: task, target: "x")]
            }
        }
    }

    /// Runs fanout with one registered channel.
    private static func with(_ body: (SpineFixture) async throws -> Void) async throws {
        try await SpineFixture.with(channels: ["test", "late"]) { spine in
            try await spine.ledger.pool.run { connection in
                try ChannelStore.register(
                    RegisteredChannel(
                        name: "test", defaultEvents: ["pr_created", "task_failed"], defaultTarget: "there"),
                    in: connection)
            }
            let directory = ChannelDirectory(pool: spine.ledger.pool, freshness: .milliseconds(20))
            let handler = EventHandler(directory: directory, platform: [:], metrics: Metrics())
            return [try spine.consumer(.events, handler)]
        } _: { spine in
            try await body(spine)
        }
    }

    private static func append(_ types: [TaskEventType], to task: TaskID, _ ledger: LedgerFixture) async throws {
        try await ledger.pool.run { connection in
            for type in types { try connection.query(TaskLog.event(type, of: task, attempt: 1)) }
        }
    }

    private static func position(_ seq: Int64, of task: TaskID, _ ledger: LedgerFixture) async throws {
        try await eventually("fanout has come to \(seq)") { () -> Bool in
            try await ledger.pool.run { connection in
                try ConsumerStore.verdict("fanout", task: task.rawValue, seq: seq + 1, in: connection) == .next
            }
        }
    }
}
