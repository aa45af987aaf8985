import Domain
import Lifecycle
import Patterns
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Runtime

@Suite struct TaskLogTests {
    @Test func `lines that name a task get into its log, redacted, and no others`() async throws {
        try await Self.with { pool, connection, task in
            let sink = TaskLogSink(CapturingLog(), metrics: Metrics())
            let log = Logger(service: "orchestrator", level: .debug, sink: sink)
            log.info("nothing about a task")
            log.info(#"says "task_id":"x""#)
            log.debug("too fine", ["task_id": task.rawValue])
            log.warning("push failed", ["task_id": task.rawValue, "attempt": 2, "status": 403])
            log.error(
                "the key AKIAABCDEFGHIJKLMNOP is bad",
                ["task_id": task.rawValue, "why": "ghp_" + String(repeating: "a", count: 36)])
            log.info("of no task that there is", ["task_id": "01JZ0000000000000000000009"])
            let writer = try TaskLogWriter(sink, service: "orchestrator", instance: "h:1", pool: pool, log: .silent)
            await writer.flush()
            let page = try TaskLogStore.page(of: task, TaskLogFilter(), in: connection)
            #expect(page.lines.map(\.message) == ["push failed", "the key [redacted AWS key] is bad"])
            #expect(page.lines.map(\.seq) == [1, 2])
            #expect(page.lines.map(\.level) == ["warning", "error"])
            #expect(page.lines[0].attempt == 2)
            #expect(page.lines[0].fields == #"{"status": 403}"#)
            #expect(page.lines[1].fields == #"{"why": "[redacted GitHub token]"}"#)
            #expect(page.lines.allSatisfy { $0.service == "orchestrator" && $0.instance == "h:1" })
        }
    }

    @Test func `a full buffer drops its oldest lines and counts them`() {
        let metrics = Metrics()
        let sink = TaskLogSink(CapturingLog(), capacity: 3, metrics: metrics)
        let log = Logger(service: "s", sink: sink)
        for number in 1...5 { log.info("line \(number)", ["task_id": "01JZ0000000000000000000001"]) }
        let kept = sink.take(10).map { String(decoding: $0, as: UTF8.self) }
        #expect(kept.count == 3)
        #expect(kept[0].contains("line 3"))
        #expect(metrics.exposition().contains("bgagent_task_log_dropped_total 2"))
        #expect(sink.take(10).isEmpty)
    }

    @Test func `a database that is away delays lines and loses none`() async throws {
        let server = try ScratchDatabase.server()
        let name = "scratch_late_\(UInt64.random(in: 0...(.max)))"
        let config = try PostgresConfig(
            url: try ScratchDatabase.url(of: name, on: server), applicationName: "log-tests")
        let pool = Pool(config, size: 1)
        let sink = TaskLogSink(CapturingLog(), metrics: Metrics())
        let log = Logger(service: "relay", sink: sink)
        let writer = try TaskLogWriter(sink, service: "relay", instance: "h:1", pool: pool, log: .silent)
        // The database is not there yet.
        log.info("first", ["task_id": Self.task])
        await writer.flush()
        log.info("second", ["task_id": Self.task])
        await writer.flush()
        try await ScratchDatabase.create(name, on: server)
        do {
            let connection = try Connection(config)
            try Self.prepare(connection)
            let task = try #require(TaskID(rawValue: Self.task))
            try await eventually("both lines are kept, in order") {
                await writer.flush()
                let lines = try TaskLogStore.page(of: task, TaskLogFilter(), in: connection).lines
                return lines.map(\.message) == ["first", "second"]
            }
        } catch {
            await pool.close()
            try? await ScratchDatabase.drop(name, on: server)
            throw error
        }
        await pool.close()
        try await ScratchDatabase.drop(name, on: server)
    }

    private static let task = "01JZ0000000000000000000001"

    private static func prepare(_ connection: Connection) throws {
        _ = try Migrator.run(on: connection)
        try connection.query("INSERT INTO users (user_id, name) VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns,
                max_duration_s, traceparent)
            VALUES (\(task), '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'acme/shop', 'x', 'b', 'm', 10, 100, '')
            """)
    }

    private static func with(_ body: (Pool, Connection, TaskID) async throws -> Void) async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "log-tests")
            let connection = try Connection(config)
            try prepare(connection)
            let pool = Pool(config, size: 1)
            try await body(pool, connection, try #require(TaskID(rawValue: task)))
            await pool.close()
        }
    }
}
