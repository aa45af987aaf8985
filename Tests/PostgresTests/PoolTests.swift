import FoundationEssentials
import Glibc
import Lifecycle
import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase)
struct PoolTests {
    @Test func `connections open when needed, are used again and never exceed the size`() async throws {
        let pool = Pool(try scratchConfig(), size: 3)
        #expect(pool.usage == .init(open: 0, idle: 0))
        let first = try pool.withConnection(\.processID)
        let second = try pool.withConnection(\.processID)
        #expect(first == second && pool.usage == .init(open: 1, idle: 1))
        let processes = try await withThrowingTaskGroup(of: Int32.self) { group in
            for _ in 0..<50 {
                group.addTask { try await pool.run { try $0.query("SELECT pg_backend_pid()").only().get(0) } }
            }
            return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
        }
        #expect(processes.count <= 3 && pool.usage.open <= 3)
        await pool.close()
        #expect(pool.usage == .init(open: 0, idle: 0))
        #expect(try postgresError { try pool.withConnection { _ in } }.kind == .closed)
    }

    @Test func `a pool without a free connection says so in time`() async throws {
        let pool = Pool(try scratchConfig(), size: 1)
        let start = MonotonicTime.now
        let error = try pool.withConnection { _ in try postgresError { try pool.withConnection { _ in } } }
        #expect(error.kind == .poolExhausted && error.isUnavailable)
        #expect(start.elapsed >= .seconds(1))
        #expect(try pool.withConnection { try $0.query("SELECT 1").count } == 1)
        await pool.close()
    }

    @Test func `a waiting caller gets the connection that comes back`() async throws {
        let pool = Pool(try scratchConfig(), size: 1, patience: .seconds(20))
        let total = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 1...20 {
                group.addTask {
                    try await pool.run { try $0.query("SELECT \(number) FROM pg_sleep(0.001)").only().get(0) }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(total == 210)
        await pool.close()
    }

    @Test func `after the server dropped every session the next callers notice nothing`() async throws {
        let pool = Pool(try scratchConfig(), size: 3)
        try pool.withConnection { _ in try pool.withConnection { _ in try pool.withConnection { _ in } } }
        #expect(pool.usage == .init(open: 3, idle: 3))
        for _ in 1...3 {
            try terminateAll()
            #expect(try pool.withConnection { try $0.query("SELECT 1").count } == 1)
            try terminateAll()
            #expect(try await pool.transaction { try $0.query("SELECT 1").count } == 1)
        }
        await pool.close()
    }

    @Test func `a transaction whose session dies before COMMIT runs again`() async throws {
        let pool = Pool(try scratchConfig())
        try pool.withConnection { try $0.query("CREATE TABLE t (n int8)") }
        let killed = Lock(false)
        let url = try scratchConfig()
        try await pool.transaction { connection in
            try connection.query("INSERT INTO t VALUES (1)")
            let isFirst = killed.withLock { killed in
                defer { killed = true }
                return !killed
            }
            if isFirst {
                try Connection(url).query("SELECT pg_terminate_backend(\(connection.processID), 5000)")
            }
        }
        #expect(try pool.withConnection { try $0.query("SELECT * FROM t").count } == 1)
        await pool.close()
    }

    @Test func `a transaction left open is rolled back and its connection kept`() async throws {
        let pool = Pool(try scratchConfig())
        let process = try pool.withConnection { connection in
            try connection.query("CREATE TABLE t ()")
            try connection.query("BEGIN")
            try connection.query("INSERT INTO t DEFAULT VALUES")
            return connection.processID
        }
        try pool.withConnection { (connection) throws in
            #expect(connection.processID == process && !connection.hasOpenTransaction)
            #expect(try connection.query("SELECT * FROM t").isEmpty)
        }
        await pool.close()
    }

    @Test func `two that deadlock both end well`() async throws {
        let pool = Pool(try scratchConfig())
        try pool.withConnection {
            try $0.execute(script: "CREATE TABLE t AS SELECT n, 0 AS hits FROM generate_series(1, 2) n")
        }
        // Both hold their first row before either asks for its second: the server must break one of them.
        let met = Condition(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for order in [[1, 2], [2, 1]] {
                group.addTask {
                    try await pool.transaction { connection in
                        try connection.query("SET LOCAL deadlock_timeout = '20ms'")
                        try connection.query("UPDATE t SET hits = hits + 1 WHERE n = \(order[0])")
                        met.update { $0 += 1 }
                        _ = met.wait(timeout: .seconds(5)) { $0 >= 2 ? true : nil }
                        try connection.query("UPDATE t SET hits = hits + 1 WHERE n = \(order[1])")
                    }
                }
            }
            try await group.waitForAll()
        }
        let hits = try pool.withConnection { try $0.query("SELECT hits FROM t").map { try $0.get(0, as: Int.self) } }
        #expect(hits == [2, 2])
        #expect(met.withLock { $0 } >= 3)
        await pool.close()
    }

    @Test func `a conflict is tried four times in all, any other error once`() async throws {
        let pool = Pool(try scratchConfig())
        for (state, expected) in [("40001", 4), ("40P01", 4), ("23505", 1), ("55P03", 1)] {
            let runs = Lock(0)
            let error = try await postgresError {
                try await pool.transaction { connection in
                    runs.withLock { $0 += 1 }
                    try connection.query("DO \(unescaped: "$$ BEGIN RAISE 'no' USING ERRCODE = '\(state)'; END $$")")
                }
            }
            #expect(error.sqlState == state && runs.withLock { $0 } == expected)
        }
        await pool.close()
    }

    @Test func `readiness follows the server`() async throws {
        let readiness = Readiness()
        let pool = Pool(try scratchConfig(), readiness: readiness)
        #expect(readiness.missing == ["postgres"])
        let running = Task { try await pool.run() }
        #expect(try await eventually { readiness.isReady })
        running.cancel()
        try await running.value
        #expect(try postgresError { try pool.withConnection { _ in } }.kind == .closed)
    }

    @Test func `while the server is away callers fail at once`() async throws {
        let readiness = Readiness()
        let config = try PostgresConfig(url: "postgres://nobody@127.0.0.1:1/x", applicationName: "test")
        let pool = Pool(config, backoff: Backoff(initial: .seconds(60)), readiness: readiness)
        let start = MonotonicTime.now
        for _ in 1...100 {
            #expect(try postgresError { try pool.withConnection { _ in } }.kind == .connectFailed)
        }
        // Nobody waits for the next try, which is a minute away.
        #expect(start.elapsed < .seconds(60) && !pool.isHealthy && !readiness.isReady)
        await pool.close()
    }

    @Test func `no descriptor is left behind`() async throws {
        // In a process of its own: other tests open descriptors of theirs meanwhile.
        let url = try ScratchDatabase.url()
        setenv("BGAGENT_TEST_LEAK_URL", url, 1)
        await #expect(processExitsWith: .success) {
            let url = String(cString: try #require(getenv("BGAGENT_TEST_LEAK_URL")))
            let config = try PostgresConfig(url: url, applicationName: "leaks")
            func descriptors() throws -> Int {
                try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
            }
            func work() async throws {
                let pool = Pool(config)
                try await pool.transaction { try $0.query("SELECT 1") }
                let process = try pool.withConnection(\.processID)
                try Connection(config).query("SELECT pg_terminate_backend(\(process), 5000)")
                _ = try? await pool.run { try $0.query("SELECT 1 / 0") }
                await pool.close()
                let listener = try Listener(config, channel: "leaks")
                let running = Task { try await listener.run() }
                for await _ in listener.notifications { break }
                running.cancel()
                try await running.value
                let lock = try AdvisoryLock(config)
                _ = try await lock.tryAcquire(1)
                await lock.close()
            }
            try await work()
            let before = try descriptors()
            for _ in 1...5 { try await work() }
            // A thread lets go of what it held a moment after it has said that it ended.
            guard try await eventually({ try descriptors() <= before }) else {
                let after = try descriptors()
                fatalError("\(before) descriptors before, \(after) after")
            }
        }
    }
}
