import Domain
import Postgres
import Store
import Telemetry
import TestSupport
import Testing
import Threads

@testable import Reconciler

@Suite struct RetentionTests {
    private static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    private static let ofTask = [
        "tasks", "task_heads", "task_events", "task_commands", "sessions", "timers", "checkpoints", "git_pushes",
        "artifacts", "inbox", "task_approvals", "effects", "channel_state", "model_calls", "consumer_positions",
        "parked_messages", "stream_heads", "message_attempts",
    ]

    @Test func `a task goes with everything of it, and the others stay whole`() async throws {
        try await Self.with { pool, connection in
            let old = try Self.endedTask(connection, daysAgo: 91)
            let young = try Self.endedTask(connection, daysAgo: 89)
            let open = try Self.task(connection)
            let before = try Self.counts(of: young, connection)
            #expect(before.values.allSatisfy { $0 > 0 }, "the fixture fills every table: \(before)")
            let metrics = Metrics()
            let rows = try await Self.sweep(pool, metrics: metrics).runOnce()
            #expect(try Self.counts(of: old, connection).values.allSatisfy { $0 == 0 })
            // What people said of it was due before.
            let kept = before.merging(["inbox": 0, "task_approvals": 0]) { $1 }
            #expect(try Self.counts(of: young, connection) == kept)
            #expect(try TaskStore.load(open, in: connection) != nil)
            #expect(rows.tables["tasks"] == 1)
            #expect(rows.tables["task_events"] == 3)
            #expect(metrics.exposition().contains(#"bgagent_retention_rows_total{table="tasks"} 1"#))
            #expect(metrics.exposition().contains(#"bgagent_retention_rows_total{table="task_events"} 3"#))
            #expect(try Self.count("deleted_tasks", connection) == 1)
            #expect(try await Self.sweep(pool).runOnce().total == 0)
        }
    }

    @Test(arguments: [
        "UPDATE effects SET state = 'planned'",
        "UPDATE effects SET state = 'unknown'",
        "UPDATE effects SET state = 'sending', claim_token = 'x', claim_until = now()",
        "UPDATE dead_letters SET state = 'open'",
        """
        INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
            traceparent, payload)
        SELECT 0, 'events', task_id, 9, 'm', 'task.events', 'x', 'x', 1, '', '{}' FROM tasks
        """,
    ])
    func `what still waits for something keeps its task`(_ statement: String) async throws {
        try await Self.with { pool, connection in
            let old = try Self.endedTask(connection, daysAgo: 400)
            try connection.execute(script: statement)
            let before = try Self.counts(of: old, connection)
            #expect(try await Self.sweep(pool).runOnce().total == 0)
            #expect(try Self.counts(of: old, connection) == before)
        }
    }

    @Test func `a task that is not over is kept however old it is`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.endedTask(connection, daysAgo: 400, status: "RUNNING")
            let before = try Self.counts(of: id, connection)
            try connection.query(
                """
                INSERT INTO idempotency_keys (user_id, key, body_hash, task_id, created_at)
                VALUES (\(Self.user), 'k', 'h', \(id.rawValue), now() - interval '400 days')
                """)
            #expect(try await Self.sweep(pool).runOnce().total == 0)
            #expect(try Self.counts(of: id, connection) == before)
            #expect(try Self.count("idempotency_keys", connection) == 1)
        }
    }

    @Test func `a long task goes in batches, and a crash between them leaves the rest to the next run`() async throws {
        try await Self.with { pool, connection in
            let old = try Self.endedTask(connection, daysAgo: 91)
            try connection.query(
                """
                INSERT INTO task_events (task_id, seq, event_id, event_type, timestamp, attempt, metadata)
                SELECT \(old.rawValue), n, new_ulid(now_ms() + n), 'agent_turn', now(), 1, '{}'
                FROM generate_series(10, 1300) n
                """)
            // The first batch alone, as if the process had ended behind it.
            let keep = Self.retention.tasks.inSeconds
            let first = try #require(
                try connection.transaction { tx in
                    try RetentionStore.deleteTask(old, afterSeconds: keep, limit: RetentionSweep.batch, in: tx)
                })
            #expect(first.rows.tables == ["task_events": 500])
            #expect(!first.isGone)
            #expect(try TaskStore.load(old, in: connection) != nil)
            #expect(try await Self.sweep(pool).runOnce().tables["task_events"] == 794)
            #expect(try Self.counts(of: old, connection).values.allSatisfy { $0 == 0 })
        }
    }

    @Test func `a task that somebody holds, or that cannot be deleted, holds back no other`() async throws {
        try await Self.with { pool, connection in
            let held = try Self.endedTask(connection, daysAgo: 99)
            let stubborn = try Self.endedTask(connection, daysAgo: 98)
            let last = try Self.endedTask(connection, daysAgo: 97)
            try connection.execute(
                script: """
                    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
                    CREATE TRIGGER refuse BEFORE DELETE ON tasks FOR EACH ROW
                        WHEN (OLD.task_id = '\(stubborn.rawValue)') EXECUTE FUNCTION refuse();
                    """)
            try connection.execute(script: "BEGIN")
            try connection.query("SELECT 1 FROM tasks WHERE task_id = \(held.rawValue) FOR UPDATE")
            let rows = try await Self.sweep(pool).runOnce()
            try connection.execute(script: "COMMIT")
            #expect(rows.tables["tasks"] == 1)
            #expect(try TaskStore.load(last, in: connection) == nil)
            #expect(try TaskStore.load(stubborn, in: connection) != nil)
            #expect(try await Self.sweep(pool).runOnce().tables["tasks"] == 1)
            #expect(try TaskStore.load(held, in: connection) == nil)
        }
    }

    @Test func `each table goes by its own time, of tasks that are over`() async throws {
        try await Self.with { pool, connection in
            var retention = Self.retention
            retention.ledger = .seconds(20 * 86_400)
            let month = try Self.endedTask(connection, daysAgo: 31)
            let week = try Self.endedTask(connection, daysAgo: 7)
            let running = try Self.endedTask(connection, daysAgo: 31, status: "RUNNING")
            let rows = try await Self.sweep(pool, retention).runOnce()
            #expect(rows.tables == ["inbox": 1, "task_approvals": 1, "effects": 1])
            let left = try Self.counts(of: month, connection)
            for table in ["inbox", "task_approvals", "effects"] { #expect(left[table] == 0, "\(table)") }
            #expect(left["task_events"] == 3)
            for id in [week, running] {
                #expect(try Self.counts(of: id, connection).values.allSatisfy { $0 > 0 })
            }
        }
    }

    @Test func `keys, logins, dead letters and marks go when their time is over`() async throws {
        try await Self.with { pool, connection in
            let id = try Self.endedTask(connection, daysAgo: 2)
            try connection.execute(
                script: """
                    DELETE FROM dead_letters;
                    INSERT INTO idempotency_keys (user_id, key, body_hash, task_id, created_at) VALUES
                        ('\(Self.user)', 'old', 'h', '\(id)', now() - interval '25 hours'),
                        ('\(Self.user)', 'new', 'h', '\(id)', now() - interval '23 hours'),
                        ('\(Self.user)', 'orphan', 'h', '01ARZ3NDEKTSV4RRFFQ69G5FB9', now() - interval '25 hours');
                    INSERT INTO api_tokens (user_id, kind, name, token_hash, expires_at) VALUES
                        ('\(Self.user)', 'session', 'old', 'a', now() - interval '8 days'),
                        ('\(Self.user)', 'session', 'ended', 'b', now() - interval '6 days'),
                        ('\(Self.user)', 'session', 'alive', 'c', now() + interval '1 hour'),
                        ('\(Self.user)', 'api', 'expired', 'd', now() - interval '400 days'),
                        ('\(Self.user)', 'api', 'for ever', 'e', NULL);
                    INSERT INTO dead_letters (dead_letter_id, consumer, queue, reason, body, state)
                        SELECT new_ulid(now_ms() - days * 86400000::bigint), 'c', 'q', 'r', 'b', state
                        FROM (VALUES (91), (89)) d (days), (VALUES ('open'), ('replayed'), ('dropped')) s (state);
                    INSERT INTO deleted_tasks (task_id, deleted_at) VALUES
                        ('gone long ago', now() - interval '91 days'), ('gone', now() - interval '89 days'),
                        ('\(id)', now() - interval '91 days');
                    """)
            let rows = try await Self.sweep(pool).runOnce()
            #expect(rows.tables == ["idempotency_keys": 2, "api_tokens": 1, "dead_letters": 2, "deleted_tasks": 1])
            func names(_ query: Query) throws -> [String] {
                try connection.query(query).map { try $0.get(0, as: String.self) }
            }
            #expect(try names("SELECT key FROM idempotency_keys") == ["new"])
            #expect(
                try names("SELECT name FROM api_tokens ORDER BY token_hash")
                    == ["ended", "alive", "expired", "for ever"])
            #expect(
                try names("SELECT state FROM dead_letters ORDER BY dead_letter_id, state")
                    .sorted() == ["dropped", "open", "open", "replayed"])
            #expect(try names("SELECT task_id FROM deleted_tasks ORDER BY 1") == [id.rawValue, "gone"])
        }
    }

    @Test func `the audit log stays, and stays whole`() async throws {
        try await Self.with { pool, connection in
            let old = try Self.endedTask(connection, daysAgo: 5000)
            try connection.query(
                """
                INSERT INTO audit_log (at, action, subject) VALUES
                    (now() - interval '5000 days', 'task.look', \(old.rawValue)), (now(), 'x', 'y')
                """)
            #expect(try await Self.sweep(pool).runOnce().tables["tasks"] == 1)
            #expect(try Self.count("audit_log", connection) == 2)
            #expect(try connection.query("SELECT audit_breach() IS NULL AS whole").only().get("whole", as: Bool.self))
        }
    }

    @Test func `counters that drifted are mended, told and counted`() async throws {
        try await Self.with { pool, connection in
            _ = try Self.endedTask(connection, daysAgo: 0, status: "RUNNING")
            let metrics = Metrics()
            let sweep = SlotSweep(pool: pool, metrics: metrics, log: .silent)
            #expect(try await sweep.runOnce() == 0)
            #expect(metrics.exposition().contains("bgagent_slot_drift_total 0"))
            try connection.query("UPDATE user_concurrency SET running = 7")
            try connection.query("UPDATE repo_concurrency SET running = 0")
            #expect(try await sweep.runOnce() == 2)
            #expect(metrics.exposition().contains("bgagent_slot_drift_total 2"))
            for table in ["user_concurrency", "repo_concurrency"] {
                #expect(try Self.count("\(table) WHERE running = 1", connection) == 1)
            }
        }
    }

    // MARK: - Pieces

    private static let retention = Retention(
        tasks: .seconds(90 * 86_400), ledger: .seconds(90 * 86_400), conversation: .seconds(30 * 86_400),
        idempotencyKeys: .seconds(86_400), sessions: .seconds(7 * 86_400), deadLetters: .seconds(90 * 86_400),
        deleted: .seconds(90 * 86_400))

    private static func sweep(
        _ pool: Pool, _ retention: Retention = Self.retention, metrics: Metrics = Metrics()
    ) -> RetentionSweep {
        RetentionSweep(pool: pool, retention: retention, metrics: metrics, log: .silent)
    }

    private static func with(_ body: @escaping @Sendable (Pool, Connection) async throws -> Void) async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(
                url: url, applicationName: "reconciler-tests", lockTimeout: .seconds(30),
                statementTimeout: .seconds(30),
                idleInTransactionTimeout: .seconds(120))
            let connection = try Connection(config)
            _ = try Migrator.run(on: connection)
            try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
            try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
            let pool = Pool(config, size: 2, patience: .seconds(30))
            try await body(pool, connection)
            await pool.close()
        }
    }

    private static func task(_ connection: Connection) throws -> TaskID {
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.execute(
            script: """
                INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
                    traceparent) VALUES ('\(id)', '\(user)', 'acme/shop', 'x', 'b', 'm', 10, 100, '');
                INSERT INTO task_heads (task_id, user_id, repo, traceparent) VALUES ('\(id)', '\(user)', 'acme/shop', '')
                """)
        return id
    }

    /// A task with a row in every table, and everything of it so many days old. All messages are published.
    private static func endedTask(
        _ connection: Connection, daysAgo days: Int, status: String = "CANCELLED"
    ) throws -> TaskID {
        let id = try task(connection)
        for state in status == "RUNNING" ? ["HYDRATING", "RUNNING"] : [status] {
            try connection.query("UPDATE tasks SET status = \(state) WHERE task_id = \(id.rawValue)")
        }
        for type in [TaskEventType.taskCreated, .cancelRequested, .taskCancelled] {
            try TaskLog.append(type, to: id, attempt: 1, in: connection)
        }
        try TaskLog.send(.taskSubmitted, to: id, attempt: 1, in: connection)
        let then = "now_ms() - \(days) * 86400000::bigint"
        try connection.execute(
            script: """
                DELETE FROM outbox;
                UPDATE tasks SET completed_at = completed_at - interval '\(days) days' WHERE task_id = '\(id)';
                INSERT INTO sessions (task_id, attempt, state, backend, payload) VALUES ('\(id)', 1, 'void', 'process', '{}');
                INSERT INTO timers VALUES ('\(id)', 1, 'duration', now());
                INSERT INTO checkpoints (task_id, attempt, turn, commit_sha) VALUES ('\(id)', 1, 1, 'c');
                INSERT INTO git_pushes (task_id, attempt, ref, old_sha, new_sha, verdict)
                    VALUES ('\(id)', 1, 'r', 'a', 'b', 'accepted');
                INSERT INTO artifacts (task_id, kind, name, path, sha256, bytes) VALUES ('\(id)', 'k', 'n', 'p', 's', 1);
                INSERT INTO inbox (item_id, task_id, kind, payload) VALUES (new_ulid(\(then)), '\(id)', 'nudge', '{}');
                INSERT INTO task_approvals (request_id, task_id, attempt, status, request, decided_at)
                    VALUES (new_ulid(\(then)), '\(id)', 1, 'DENIED', '{}', now());
                INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload, state, planned_at, sent_at)
                    VALUES ('e-\(id)', '\(id)', 'slack', '#x', 't', '{}', 'sent', now() - interval '\(days) days', now());
                INSERT INTO channel_state VALUES ('slack', '\(id)', '#x', '{}');
                INSERT INTO model_calls (task_id, attempt, gateway, model, estimate_usd, alive_until)
                    VALUES ('\(id)', 1, 'g', 'm', 0, now());
                INSERT INTO consumer_positions VALUES ('fanout', '\(id)', 3), ('orchestrator', '\(id)', 1);
                INSERT INTO parked_messages (consumer, task_id, seq, queue, message, reason, due_at)
                    VALUES ('fanout', '\(id)', 9, 'q', '{}', 'r', now());
                INSERT INTO stream_heads VALUES ('notifications.slack', '\(id)', 1);
                INSERT INTO message_attempts SELECT 'fanout', event_id, 1 FROM task_events WHERE task_id = '\(id)';
                INSERT INTO message_attempts SELECT 'orchestrator', message_id, 1 FROM task_commands WHERE task_id = '\(id)';
                INSERT INTO message_attempts VALUES ('dispatch.slack', 'e-\(id)', 1);
                INSERT INTO dead_letters (consumer, queue, task_id, reason, body, state)
                    VALUES ('fanout', 'q', '\(id)', 'r', 'b', 'dropped');
                """)
        return id
    }

    /// How many rows of a task there are, by table.
    private static func counts(of id: TaskID, _ connection: Connection) throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for table in ofTask where table != "message_attempts" {
            counts[table] = try count("\(table) WHERE task_id = '\(id)'", connection)
        }
        counts["message_attempts"] = try connection.query(
            """
            SELECT (SELECT count(*) FROM message_attempts a WHERE a.message_id = ANY(ids.own)) AS n
            FROM (SELECT array_agg(id) AS own FROM (
                SELECT event_id::text AS id FROM task_events WHERE task_id = \(id.rawValue)
                UNION ALL SELECT message_id FROM task_commands WHERE task_id = \(id.rawValue)
                UNION ALL SELECT effect_id FROM effects WHERE task_id = \(id.rawValue)) o) ids
            """
        ).only().get("n", as: Int.self)
        return counts
    }

    private static func count(_ what: String, _ connection: Connection) throws -> Int {
        try connection.query("SELECT count(*) AS n FROM " + Query(unescaped: what)).only().get("n", as: Int.self)
    }
}
