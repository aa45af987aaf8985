import AMQP
import Config
import Domain
import Messaging
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Migrate

@Suite struct AfterRestoreTests {
    static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    static let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @Test func `after a restore attempts under way are given up and their numbers jump`() async throws {
        try await Self.withRestored { restored in
            let running = try restored.task(status: "RUNNING")
            let waiting = try restored.task(status: "QUEUED")
            let finalizing = try restored.task(status: "FINALIZING")
            let cancelled = try restored.task(status: "RUNNING", cancelled: true)
            let summary = try await restored.afterRestore.run()
            #expect(summary.attempts == 2)
            #expect(summary.renumbered == 3)
            #expect(try restored.state(running) == "QUEUED 1001/1002")
            #expect(try restored.state(waiting) == "QUEUED 1001/1002")
            #expect(try restored.state(finalizing) == "FINALIZING 1/2")
            #expect(try restored.state(cancelled) == "CANCELLED 1001/1002")
            let sessions = try restored.connection.query(
                """
                SELECT count(*) AS live FROM sessions WHERE task_id = \(running)
                    AND (state IN ('requested', 'claimed', 'running') OR harness_token_hash IS NOT NULL)
                """)
            #expect(try sessions.only().get("live", as: Int64.self) == 0)
            let told = try restored.connection.query(
                "SELECT 1 FROM task_events WHERE task_id = \(running) AND event_type = 'attempt_lost'")
            #expect(told.count == 1)
        }
    }

    @Test func `after a restore the queues are empty and what nobody took comes again`() async throws {
        try await Self.withRestored { restored in
            let task = try restored.task(status: "QUEUED")
            // The relay had published everything; fanout had taken the first event.
            try restored.connection.query("DELETE FROM outbox")
            try restored.connection.query(
                "INSERT INTO consumer_positions (consumer, task_id, last_seq) VALUES ('fanout', \(task), 1)")
            let broker = try await AMQPConnection.open(AMQPConfig(url: restored.broker))
            _ = try await broker.publish([
                Publishing(
                    exchange: TaskStream.events.exchange, routingKey: "\(task).x", messageID: "lost",
                    correlationID: task, body: Array("{}".utf8))
            ])
            try await eventually("the message of the lost time is in a queue") {
                try await restored.queued(broker) == 1
            }
            let summary = try await restored.afterRestore.run()
            #expect(try await restored.queued(broker) == 0)
            await broker.close()
            let rows = try restored.connection.query(
                "SELECT stream || ' ' || stream_seq AS text FROM outbox WHERE task_id = \(task) ORDER BY id")
            let outbox = try rows.map { try $0.get("text", as: String.self) }
            #expect(outbox == ["events 2", "commands 1"])
            #expect(summary.messages == 2)
        }
    }

    @Test func `after a restore what may have been sent is looked up first`() async throws {
        try await Self.withRestored { restored in
            let task = try restored.task(status: "RUNNING")
            for (index, state) in ["planned", "sending", "unknown", "sent", "dead"].enumerated() {
                try restored.connection.query(
                    """
                    INSERT INTO effects (effect_id, task_id, channel, target, stream_seq, event_type, payload, state,
                        claim_token, claim_until, sent_at)
                    VALUES (\(state), \(task), 'slack', 'C1', \(Int64(index + 1)), 'task_failed', '{}', \(state),
                        CASE \(state) WHEN 'sending' THEN 't' END, CASE \(state) WHEN 'sending' THEN now() END,
                        CASE \(state) WHEN 'sent' THEN now() END)
                    """)
            }
            #expect(try await restored.afterRestore.run().effects == 3)
            let states = try restored.connection.query("SELECT state FROM effects ORDER BY stream_seq")
                .map { try $0.get("state", as: String.self) }
            #expect(states == ["unknown", "unknown", "unknown", "sent", "dead"])
        }
    }

    @Test func `after a restore nothing is changed while a service runs`() async throws {
        try await Self.withRestored { restored in
            let task = try restored.task(status: "RUNNING")
            let service = try Connection(PostgresConfig(url: restored.url, applicationName: "bgagent-gateway"))
            await #expect(throws: AfterRestore.ServicesRun.self) { try await restored.afterRestore.run() }
            try service.query("SELECT 1")
            #expect(try restored.state(task) == "RUNNING 1/2")
        }
    }

    /// A migrated database and broker with a user and a repository.
    private static func withRestored(_ body: @escaping @Sendable (Restored) async throws -> Void) async throws {
        try await withScratchDatabase { url in
            try await withScratchVhost { broker in
                let config = try Environment.read(
                    MigrateConfig.init, from: Environment(["BGAGENT_POSTGRES_URL": url, "BGAGENT_AMQP_URL": broker]))
                let migration = MigrationRun(config: config, log: .silent)
                try await migration.run()
                let restored = Restored(url: url, broker: broker, afterRestore: AfterRestore(migration: migration))
                try restored.connection.query(
                    "INSERT INTO users (user_id, name) VALUES (\(AfterRestoreTests.user), 'ada')")
                try restored.connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
                try await body(restored)
            }
        }
    }
}

private struct Restored: Sendable {
    let url: String
    let broker: String
    let afterRestore: AfterRestore

    var connection: Connection {
        get throws {
            try Connection(
                PostgresConfig(url: url, applicationName: "restore-tests", statementTimeout: .seconds(60)))
        }
    }

    /// A task that was in this state when the backup was made, with two events and a command.
    func task(status: String, cancelled: Bool = false) throws -> String {
        let connection = try connection
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        let task = id.rawValue
        try connection.transaction { tx in
            try tx.query(
                """
                INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns,
                    max_duration_s, traceparent)
                VALUES (\(task), \(AfterRestoreTests.user), 'acme/shop', 'x', 'bgagent/x', 'm', 10, 100,
                    \(AfterRestoreTests.traceparent))
                """)
            try tx.query(
                """
                INSERT INTO task_heads (task_id, user_id, repo, traceparent)
                VALUES (\(task), \(AfterRestoreTests.user), 'acme/shop', \(AfterRestoreTests.traceparent))
                """)
            try TaskLog.append(.taskCreated, to: id, attempt: 1, in: tx)
            try TaskLog.append(.admissionQueued, to: id, attempt: 1, in: tx)
            try TaskLog.send(.taskSubmitted, to: id, attempt: 1, in: tx)
            let moves = ["QUEUED", "HYDRATING", "RUNNING", "FINALIZING"]
            for next in moves.prefix(through: moves.firstIndex(of: status) ?? 0) {
                try tx.query("UPDATE tasks SET status = \(next) WHERE task_id = \(task)")
            }
            if status == "RUNNING" {
                try tx.query(
                    """
                    INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload,
                        harness_token_hash)
                    VALUES (\(task), 1, 'running', 'process', 'n1', now(), '{}', \(task))
                    """)
            }
            if cancelled {
                try tx.query("UPDATE tasks SET cancel_requested_at = now() WHERE task_id = \(task)")
            }
        }
        return task
    }

    func state(_ task: String) throws -> String {
        try connection.query(
            "SELECT status || ' ' || attempt || '/' || max_attempts AS text FROM tasks WHERE task_id = \(task)"
        ).only().get("text", as: String.self)
    }

    /// Messages in fanout's queues.
    func queued(_ broker: AMQPConnection) async throws -> Int {
        var count = 0
        for queue in TaskStream.events.queues { count += try await broker.passiveDeclare(queue: queue).messages }
        return count
    }
}
