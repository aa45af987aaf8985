import Config
import Domain
import Notifications
import Postgres
import Runtime
import Store
import TestSupport
import Testing

@Suite struct DispatcherTests {
    @Test func `a dispatcher registers, declares its queues, and sends what is planned at once`() async throws {
        try await Self.with { spine, outside in
            let row = try await spine.ledger.pool.run { try ChannelStore.all(in: $0).first }
            #expect(row?.name == "fake")
            #expect(row?.defaultEvents == ["task_completed", "task_failed"])
            #expect(row?.verboseEvents == ["agent_milestone"])
            #expect(row?.defaultTarget == "there")
            let task = try await spine.ledger.submit()
            try await spine.ledger.plan(.taskFailed, of: task, on: "fake", to: "there")
            try await eventually("it is sent") { try await spine.ledger.states(task) == ["sent"] }
            #expect(outside.types == ["task_failed"])
        }
    }

    @Test func `a notification whose message was lost is found in the ledger`() async throws {
        try await Self.with { spine, outside in
            let task = try await spine.ledger.submit()
            try await spine.ledger.pool.transaction { tx in
                // As a relay and a broker that lost it: the row is there, no message is.
                try tx.query(
                    """
                    INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload)
                    VALUES ('lost', \(task.rawValue), 'fake', 'there', 'task_failed', '{}')
                    """)
            }
            try await eventually("it was tried") { try await spine.ledger.states(task) == ["dead"] }
        }
    }

    @Test func `a wake keeps no position, and nobody else is disturbed`() async throws {
        try await Self.with { spine, _ in
            let task = try await spine.ledger.submit()
            let pool = spine.ledger.pool
            try await pool.run { connection in
                try ConsumerStore.park(
                    "dispatch.other", queue: "q", task: task.rawValue, seq: 7, message: "{}", attempts: 0,
                    reason: "waits for 3", inSeconds: 3600, in: connection)
            }
            for type in [TaskEventType.prCreated, .taskFailed] {
                try await spine.ledger.plan(type, of: task, on: "fake", to: "there")
            }
            try await eventually("they are sent") { try await spine.ledger.states(task) == ["sent", "sent"] }
            let kept = try await pool.run { connection in
                try connection.query("SELECT FROM consumer_positions WHERE consumer = 'dispatch.fake'").count
            }
            #expect(kept == 0)
            let parked = try await pool.run { connection in
                try connection.query("SELECT FROM parked_messages").count
            }
            #expect(parked == 1, "another consumer's stay")
        }
    }

    private static func with(
        _ body: (SpineFixture, FakeChannel.Outside) async throws -> Void
    ) async throws {
        let outside = FakeChannel.Outside()
        try await SpineFixture.with { spine in
            let config = try Environment.read(
                { ServiceConfig(&$0, name: "dispatch-fake") },
                from: Environment([
                    "BGAGENT_POSTGRES_URL": spine.ledger.url, "BGAGENT_AMQP_URL": spine.amqpURL,
                    "BGAGENT_LOG_LEVEL": "error",
                ]))
            var settings = DispatcherSettings()
            settings.passEvery = .milliseconds(100)
            return [try Dispatcher(FakeChannel(outside), ServiceRuntime(config), settings: settings)]
        } _: { spine in
            try await eventually("the channel is registered") {
                try await spine.ledger.pool.run { try !ChannelStore.all(in: $0).isEmpty }
            }
            try await body(spine, outside)
        }
    }
}
