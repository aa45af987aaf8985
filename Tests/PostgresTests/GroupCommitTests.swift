import Lifecycle
import Postgres
import TestSupport
import Testing
import Threads

@Suite(.scratchDatabase)
struct GroupCommitTests {
    /// Who waits for the test's lock waits as long as the test does.
    private func patientPool() throws -> Pool {
        var config = try scratchConfig()
        config.lockTimeout = .seconds(60)
        config.statementTimeout = .seconds(60)
        return Pool(config, size: 3)
    }

    /// A table, and a pool whose groups wait behind a held lock until `release`.
    private func held(
        _ pool: Pool, patience: Duration = .seconds(20),
        _ body: (FlightGroup, _ release: @escaping @Sendable () throws -> Void) async throws -> Void
    ) async throws {
        try pool.withConnection { connection in
            try connection.query("CREATE TABLE gate (n int8)")
            try connection.query("CREATE TABLE t (n int8 PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id())")
        }
        let holder = try connect()
        try holder.query("BEGIN")
        try holder.query("LOCK TABLE gate")
        let group = FlightGroup(pool, patience: patience)
        async let first: Void = {
            // A machine that stands still may let even the first one's time pass.
            while true {
                do {
                    _ = try await group.run(["SELECT * FROM gate"], key: "")
                    return
                } catch let error as PostgresError where error.kind == .poolExhausted {}
            }
        }()
        // The leader is on its way once somebody waits for the lock: all that comes from here on is the next group.
        let watcher = try connect()
        try await eventually("the first group waits") {
            try watcher.query("SELECT FROM pg_locks WHERE NOT granted AND relation = 'gate'::regclass").count == 1
        }
        let lock = Lock(holder)
        try await body(group) { try lock.withLock { _ = try $0.query("COMMIT") } }
        try await first
    }

    private func insert(_ number: Int) -> [Query] { ["INSERT INTO t (n) VALUES (\(number))", "SELECT \(number) AS n"] }

    @Test func `what comes while a group is on its way is one transaction`() async throws {
        let pool = try patientPool()
        try await held(pool) { group, release in
            try await withThrowingTaskGroup(of: Int.self) { callers in
                for number in 1...20 {
                    callers.addTask {
                        let answers = try await group.run(self.insert(number), key: "\(number)")
                        #expect(answers.count == 2)
                        return try answers[1].only().get("n", as: Int.self) - number
                    }
                }
                try await eventually("all wait") { group.waiting == 20 }
                try release()
                for try await difference in callers { #expect(difference == 0) }
            }
        }
        let rows = try connect().query("SELECT count(*) AS rows, count(DISTINCT xid) AS commits FROM t").only()
        #expect(try rows.get("rows", as: Int.self) == 20)
        #expect(try rows.get("commits", as: Int.self) == 1)
        await pool.close()
    }

    @Test func `who is at fault hears of it, and the others are done`() async throws {
        let pool = try patientPool()
        try await held(pool) { group, release in
            try await withThrowingTaskGroup(of: Void.self) { callers in
                for number in 1...6 {
                    callers.addTask {
                        let queries = number == 3 ? self.insert(number) + ["SELECT 1 / \(0)"] : self.insert(number)
                        do {
                            _ = try await group.run(queries, key: "\(number)")
                            #expect(number != 3)
                        } catch let error as PostgresError {
                            #expect(number == 3 && error.sqlState == "22012")
                        }
                    }
                }
                try await eventually("all wait") { group.waiting == 6 }
                try release()
                try await callers.waitForAll()
            }
        }
        let left = try connect().query("SELECT n FROM t ORDER BY n").map { try $0.get("n", as: Int.self) }
        #expect(left == [1, 2, 4, 5, 6])
        await pool.close()
    }

    @Test func `a session that breaks is everybody's error, and nothing is done twice`() async throws {
        let pool = Pool(try scratchConfig(), size: 3)
        try pool.withConnection { try $0.query("CREATE TABLE t (n int8)") }
        let group = FlightGroup(pool)
        let error = await #expect(throws: PostgresError.self) {
            _ = try await group.run(
                ["INSERT INTO t VALUES (1)", "SELECT pg_terminate_backend(pg_backend_pid())"], key: "1")
        }
        #expect(error?.isConnectionLost == true)
        #expect(try pool.withConnection { try $0.query("SELECT * FROM t").isEmpty })
        await pool.close()
    }

    @Test func `whose turn does not come in time is refused, and nothing of it is done later`() async throws {
        let pool = try patientPool()
        try await held(pool, patience: .seconds(1)) { group, release in
            async let late = #expect(throws: PostgresError.self) { _ = try await group.run(self.insert(1), key: "1") }
            let since = MonotonicTime.now
            try await eventually("its time is up") { group.waiting == 1 && since.elapsed > .seconds(2) }
            try release()
            #expect(await late?.kind == .poolExhausted)
        }
        #expect(try connect().query("SELECT * FROM t").isEmpty)
        await pool.close()
    }

    @Test func `groups take their locks in the order of their keys`() async throws {
        let pool = Pool(try scratchConfig(), size: 8)
        try pool.withConnection { connection in
            try connection.query("CREATE TABLE t (n int8 PRIMARY KEY, hits int8 NOT NULL DEFAULT 0)")
            try connection.query("INSERT INTO t SELECT generate_series(1, 20)")
        }
        // Two that lead groups of their own, as two processes would.
        let groups = [FlightGroup(pool, limit: 7), FlightGroup(pool, limit: 5)]
        try await withThrowingTaskGroup(of: Void.self) { callers in
            for round in 0..<400 {
                callers.addTask {
                    let number = round % 20 + 1
                    let key = number < 10 ? "0\(number)" : "\(number)"
                    _ = try await groups[round % 2].run(
                        ["UPDATE t SET hits = hits + 1 WHERE n = \(number)"], key: key)
                }
            }
            try await callers.waitForAll()
        }
        try pool.withConnection { connection in
            #expect(try connection.query("SELECT FROM t WHERE hits <> 20").isEmpty)
            let deadlocks = try connection.query(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).only().get("deadlocks", as: Int.self)
            #expect(deadlocks == 0)
        }
        await pool.close()
    }

    @Test func `after the pool's end there are no more groups`() async throws {
        let pool = Pool(try scratchConfig(), size: 1)
        let group = FlightGroup(pool)
        #expect(try await group.run("SELECT 7 AS n", key: "").only().get("n", as: Int.self) == 7)
        await pool.close()
        let error = await #expect(throws: PostgresError.self) { _ = try await group.run("SELECT 7", key: "") }
        #expect(error?.kind == .closed)
    }
}
