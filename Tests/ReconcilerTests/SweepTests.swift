import Config
import Domain
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Reconciler

@Suite struct SweepTests {
    private static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

    @Test func `an expired lease gives the attempt up, and the next one too ends the task`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.submit(connection)
            let sweep = LeaseSweep(pool: pool, lease: .zero, log: .silent)
            for attempt in 1...2 {
                try Self.run(id, attempt: attempt, lease: "-1 second", connection)
                #expect(try await sweep.runOnce() == 1)
            }
            let task = try #require(try TaskStore.load(id, in: connection))
            #expect(task.status == .failed)
            #expect(task.attempt == 2)
            #expect(try Self.count("task_events WHERE event_type = 'task_stranded'", connection) == 1)
            #expect(try await sweep.runOnce() == 0)
        }
    }

    @Test func `a living lease is left alone`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.submit(connection)
            try Self.run(id, attempt: 1, lease: "60 seconds", connection)
            #expect(try await LeaseSweep(pool: pool, lease: .zero, log: .silent).runOnce() == 0)
        }
    }

    @Test func `nothing expires for one lease after the start`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.submit(connection)
            try Self.run(id, attempt: 1, lease: "-1 second", connection)
            #expect(try await LeaseSweep(pool: pool, lease: .seconds(3600), log: .silent).runOnce() == 0)
        }
    }

    @Test func `a task that nobody admits is stranded, and one that waits too long in the queue fails`() async throws {
        try await Self.with { pool, connection in
            let stuck = try Self.submit(connection)
            let waiting = try Self.submit(connection)
            try connection.query("UPDATE tasks SET status = 'QUEUED' WHERE task_id = \(waiting.rawValue)")
            let sweep = StrandedSweep(
                pool: pool,
                config: try Self.config(["STRANDED_TIMEOUT_SECONDS": "0", "BGAGENT_QUEUE_LIMIT": "0"]), log: .silent)
            let count = try await sweep.runOnce()
            #expect(count == .init(failed: 1, expired: 1, revived: 0))
            #expect(try TaskStore.load(stuck, in: connection)?.status == .failed)
            #expect(try TaskStore.load(waiting, in: connection)?.status == .failed)
            #expect(try Self.count("task_events WHERE event_type = 'task_stranded'", connection) == 2)
        }
    }

    @Test func `the wait in the queue begins anew after a lost attempt`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.submit(connection)
            try connection.query("UPDATE tasks SET created_at = now() - interval '2 days'")
            try Self.run(id, attempt: 1, lease: "-1 second", connection)
            #expect(try await LeaseSweep(pool: pool, lease: .zero, log: .silent).runOnce() == 1)
            let sweep = StrandedSweep(pool: pool, config: try Self.config([:]), log: .silent)
            #expect(try await sweep.runOnce() == .init())
            #expect(try TaskStore.load(id, in: connection)?.status == .queued)
        }
    }

    @Test func `a task whose session ended long ago and was not noted is stranded`() async throws {
        try await Self.with { pool, connection in
            let (noted, lost) = (try Self.submit(connection), try Self.submit(connection))
            try Self.run(noted, attempt: 1, lease: "-1 minute", connection)
            try Self.run(lost, attempt: 1, lease: "-1 hour", connection)
            try connection.query("UPDATE sessions SET state = 'void'")
            let sweep = StrandedSweep(pool: pool, config: try Self.config([:]), log: .silent)
            #expect(try await sweep.runOnce().failed == 1)
            #expect(try TaskStore.load(lost, in: connection)?.status == .failed)
            #expect(try TaskStore.load(noted, in: connection)?.status == .running)
        }
    }

    @Test func `a task that cannot be swept holds back no other`() async throws {
        try await Self.with { pool, connection in
            let tasks = try (0..<3).map { _ in try Self.submit(connection) }
            for id in tasks { try Self.run(id, attempt: 1, lease: "-1 second", connection) }
            try connection.execute(
                script: """
                    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                    CREATE TRIGGER refuse BEFORE UPDATE ON tasks FOR EACH ROW
                        WHEN (OLD.task_id = '\(tasks.min()?.rawValue ?? "")') EXECUTE FUNCTION refuse();
                    """)
            #expect(try await LeaseSweep(pool: pool, lease: .zero, log: .silent).runOnce() == 2)
        }
    }

    @Test func `a stale finalization is commanded again before it is given up`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.submit(connection)
            try Self.run(id, attempt: 1, lease: "60 seconds", connection)
            try connection.query("UPDATE tasks SET status = 'FINALIZING' WHERE task_id = \(id.rawValue)")
            let sweep = StrandedSweep(
                pool: pool,
                config: try Self.config(["STRANDED_TIMEOUT_SECONDS": "0", "BGAGENT_FINALIZE_TRIES": "2"]), log: .silent)
            for _ in 0..<2 { #expect(try await sweep.runOnce().revived == 1) }
            #expect(try Self.count("task_commands WHERE command = 'finalize'", connection) == 2)
            #expect(try await sweep.runOnce().failed == 1)
            #expect(try TaskStore.load(id, in: connection)?.status == .failed)
        }
    }

    private static func with(_ body: @escaping @Sendable (Pool, Connection) async throws -> Void) async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "reconciler-tests")
            let connection = try Connection(config)
            _ = try Migrator.run(on: connection)
            try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
            try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
            let pool = Pool(config, size: 2)
            try await body(pool, connection)
            await pool.close()
        }
    }

    private static func config(_ variables: [String: String]) throws -> ReconcilerConfig {
        try Environment.read(
            ReconcilerConfig.init,
            from: Environment(variables.merging(["BGAGENT_POSTGRES_URL": "postgres://x@localhost/x"]) { own, _ in own })
        )
    }

    private static func submit(_ connection: Connection) throws -> TaskID {
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
                traceparent) VALUES (\(id.rawValue), \(user), 'acme/shop', 'x', 'b', 'm', 10, 100, '')
            """)
        try connection.query(
            """
            INSERT INTO task_heads (task_id, user_id, repo, traceparent)
            VALUES (\(id.rawValue), \(user), 'acme/shop', '')
            """)
        return id
    }

    /// Brings a waiting task to RUNNING with a session whose lease ends after `lease` from now.
    private static func run(_ id: TaskID, attempt: Int, lease: String, _ connection: Connection) throws {
        try connection.query("UPDATE tasks SET status = 'HYDRATING' WHERE task_id = \(id.rawValue)")
        try connection.query("UPDATE tasks SET status = 'RUNNING' WHERE task_id = \(id.rawValue)")
        try connection.query(
            """
            INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload)
            VALUES (\(id.rawValue), \(attempt), 'running', 'process', 'n1',
                clock_timestamp() + \(lease)::interval, '{}')
            """)
    }

    private static func count(_ what: String, _ connection: Connection) throws -> Int {
        try connection.query("SELECT count(*) AS n FROM " + Query(unescaped: what)).only().get("n", as: Int.self)
    }
}
