import Domain
import Patterns
import Postgres
import Store
import Telemetry
import TestSupport
import Testing
import Threads

@testable import ComputeAdapter

@Suite struct LogCollectorTests {
    @Test func `whole lines are taken, the last one once its sandbox has ended`() {
        func cut(_ text: String, isFull: Bool = false, hasEnded: Bool = false) -> Int {
            LogCollector.cut(Array(text.utf8), isFull: isFull, hasEnded: hasEnded)
        }
        #expect(cut("one\ntwo") == 4)
        #expect(cut("one\ntwo", hasEnded: true) == 7)
        #expect(cut("half") == 0)
        #expect(cut("half", hasEnded: true) == 4)
        #expect(cut("long", isFull: true) == 4)
        // Never within a character.
        #expect(cut("longé", isFull: true) == 4)
        #expect(LogCollector.cut(Array("aé".utf8.dropLast()), isFull: true, hasEnded: false) == 1)
        #expect(cut("") == 0)
    }

    @Test func `a private key is taken whole or not yet`() {
        let begin = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n"
        let whole = "before\n\(begin)-----END RSA PRIVATE KEY-----\nafter\n"
        func cut(_ text: String, isFull: Bool = false) -> Int {
            LogCollector.cut(Array(text.utf8), isFull: isFull, hasEnded: false)
        }
        #expect(cut("before\n" + begin) == 7)
        #expect(cut(begin) == 0)
        #expect(cut(whole) == whole.utf8.count)
        #expect(cut(whole + begin) == whole.utf8.count)
        #expect(cut("before\n" + begin, isFull: true) == 7)
        // What only looks like the beginning of one holds nothing back for ever.
        let long = begin + String(repeating: "x\n", count: 7000)
        #expect(cut(long) == long.utf8.count)
    }

    @Test func `lines keep what the harness says of them and lose their secrets`() throws {
        let text = """
            {"timestamp":"t","level":"warning","service":"agent","message":"no key ghp_\(String(repeating: "a", count: 36))","task_id":"x","turn":3}
            plain output
            {"broken
            """
        let lines = LogCollector.lines(ArraySlice(Array(text.utf8)), attempt: 2, try Redactor())
        #expect(lines.map(\.level) == ["warning", "info", "info"])
        #expect(lines.map(\.message) == ["no key [redacted GitHub token]", "plain output", "{\"broken"])
        #expect(lines[0].fields == ["turn": 3])
        #expect(lines.allSatisfy { $0.attempt == 2 })
    }

    @Test func `an adapter that starts again neither loses nor doubles a line`() async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "collector-tests")
            let connection = try Connection(config)
            let id = try Self.prepare(connection)
            let pool = Pool(config, size: 2)
            let threads = IOThreads(name: "collector", count: 1)
            let output = Output()
            let name = "bgagent-\(id)-1"
            func collector() throws -> LogCollector {
                try LogCollector(backend: output, node: "n1", pool: pool, threads: threads, log: .silent)
            }
            var expected: [String] = []
            for round in 0..<30 {
                let line = "line \(round) é"
                expected.append(line)
                // A line comes in two halves, and each look is another adapter's first.
                output.say(String(line.prefix(5)))
                try await collector().collect(name, hasEnded: false)
                output.say(line.dropFirst(5) + "\n")
                try await collector().collect(name, hasEnded: false)
            }
            output.say("last words")
            try await collector().collect(name, hasEnded: true)
            var filter = TaskLogFilter()
            filter.service = "agent"
            let lines = try TaskLogStore.page(of: id, filter, in: connection).lines
            #expect(lines.map(\.message) == expected + ["last words"])
            #expect(lines.map(\.seq) == (1...31).map(Int64.init))
            await pool.close()
            await threads.stopped()
        }
    }

    @Test func `a chatty sandbox is read in chunks and bounded`() async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "collector-tests")
            let connection = try Connection(config)
            let id = try Self.prepare(connection)
            let pool = Pool(config, size: 2)
            let threads = IOThreads(name: "collector", count: 1)
            let output = Output()
            let line = String(repeating: "x", count: 1023) + "\n"
            output.say(String(repeating: line, count: 6 << 10))
            let collector = try LogCollector(backend: output, node: "n1", pool: pool, threads: threads, log: .silent)
            try await collector.collect("bgagent-\(id)-1", hasEnded: true)
            let counts = try connection.query(
                "SELECT count(*) AS lines, sum(length(message)) AS bytes FROM task_logs"
            ).only()
            #expect(try counts.get("lines", as: Int.self) == (5 << 10) + 1)
            #expect(try counts.get("bytes", as: Int.self) <= TaskLogStore.maxOutputBytes)
            await pool.close()
            await threads.stopped()
        }
    }

    @Test func `the share of a processor is taken between two looks`() throws {
        var meter = UsageMeter()
        let name = "bgagent-01JZ0000000000000000000001-2"
        let start = MonotonicTime(nanoseconds: 0)
        let first = meter.note([name: SandboxUsage(cpuSeconds: 1, memoryBytes: 2048, pids: 3)], at: start)
        #expect(first.map(\.attempt) == [2])
        #expect(first[0].usage["cpu_percent"] == .null)
        #expect(first[0].usage["memory_bytes"] == 2048)
        let later = meter.note(
            [name: SandboxUsage(cpuSeconds: 2.5, memoryBytes: 1, pids: 1)], at: start + .seconds(5))
        #expect(later[0].usage["cpu_percent"] == .number(30))
        #expect(meter.note(["stray": SandboxUsage(cpuSeconds: 1, memoryBytes: 1, pids: 1)], at: start).isEmpty)
    }

    private static func prepare(_ connection: Connection) throws -> TaskID {
        _ = try Migrator.run(on: connection)
        let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
                traceparent) VALUES (\(id.rawValue), \(user), 'acme/shop', 'x', 'b', 'm', 10, 100, '')
            """)
        try connection.query(
            "INSERT INTO sessions (task_id, attempt, backend, payload) VALUES (\(id.rawValue), 1, 'process', '{}')")
        return id
    }
}

/// A sandbox that says what a test says.
private final class Output: ComputeBackend {
    let name = "process"
    private let bytes = Lock<[UInt8]>([])

    func say(_ text: some StringProtocol) {
        bytes.withLock { $0 += Array(text.utf8) }
    }

    func output(_ name: String, from offset: Int, limit: Int) throws -> [UInt8] {
        bytes.withLock { Array($0.dropFirst(offset).prefix(limit)) }
    }

    func usage(_ name: String) throws -> SandboxUsage? { nil }
    func check() -> [Check] { [] }
    func start(_ spec: SandboxSpec) throws {}
    func running() throws -> Set<String> { [] }
    func stop(_ name: String) throws {}
    func kill(_ name: String) throws {}
    func leftovers() throws -> Set<String> { [] }
    func remove(_ name: String) throws {}
    func ending(_ name: String) -> String? { nil }
    func logTail(_ name: String, bytes: Int) -> String { "" }
}
