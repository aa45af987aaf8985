import Domain
import Postgres
import Store
import TestSupport
import Testing
import Threads

/// Design §4: admission lock, tasks by id, task_heads, sessions, counters. Each test stops one side in the middle and lets
/// the other come; what took its locks the other way round would end as a deadlock.
@Suite struct LockOrderTests {
    @Test func `an event is appended while somebody has locked its task`() async throws {
        try await Fixture.with { fixture in
            let (mover, agent) = (try fixture.connection(), try fixture.connection())
            let id = try Self.running(fixture, mover)
            try mover.transaction { tx in
                _ = try TaskStore.lock(id, in: tx)
                try agent.transaction { other in
                    #expect(try SessionStore.lockLive(id, attempt: 1, in: other) == 0)
                    try TaskLog.append(.agentTurn, to: id, attempt: 1, ["turn": 1], in: other)
                }
                try TaskLog.append(.cancelRequested, to: id, attempt: 1, in: tx)
            }
        }
    }

    @Test(arguments: ["start", "end", "lose", "events"])
    func `an attempt that is given up and its agent's call follow each other`(_ call: String) async throws {
        try await Fixture.with { fixture in
            let connection = try Self.patient(fixture)
            let id = try Self.running(fixture, connection, session: call == "start" ? "claimed" : "running")
            let threads = IOThreads(name: "agent", count: 1)
            try connection.execute(script: "BEGIN")
            let task = try #require(try TaskStore.lock(id, in: connection))
            try TaskLog.append(.agentError, to: id, attempt: 1, in: connection)
            let answer = Self.begin(on: threads) { try Self.write(call, id, Self.patient(fixture)) }
            try await Self.untilOneWaits(fixture)
            try TaskStore.loseAttempt(task, Self.failure, in: connection)
            try connection.execute(script: "COMMIT")
            #expect(try await !answer())
            #expect(try SessionStore.load(id, attempt: 1, in: connection)?.state == "void")
            await threads.stopped()
        }
    }

    @Test func `a claim and a cancel follow each other`() async throws {
        try await Fixture.with { fixture in
            let connection = try Self.patient(fixture)
            let id = try Self.running(fixture, connection, status: "HYDRATING", session: "requested")
            let threads = IOThreads(name: "node", count: 1)
            try connection.execute(script: "BEGIN")
            let task = try #require(try TaskStore.lock(id, in: connection))
            try TaskLog.append(.agentError, to: id, attempt: 1, in: connection)
            let claimed = Self.begin(on: threads) {
                try Self.patient(fixture).transaction { tx in
                    try SessionStore.claim(
                        id, attempt: 1, node: "n1", tokens: SessionTokenHashes(harness: "h", git: "g", model: "m"),
                        lease: 60, in: tx)
                }
            }
            try await Self.untilOneWaits(fixture)
            _ = try CancelStore.cancel(task, by: "ada", grace: 1, in: connection)
            try connection.execute(script: "COMMIT")
            #expect(try await !claimed())
            await threads.stopped()
        }
    }

    @Test func `a pass of admission and the end of a task follow each other`() async throws {
        try await Fixture.with { fixture in
            let connection = try Self.patient(fixture)
            let bob = "01ARZ3NDEKTSV4RRFFQ69G5FB0"
            try connection.query("INSERT INTO users (user_id, name) VALUES (\(bob), 'bob')")
            for user in [Fixture.user, bob] {
                try connection.query("INSERT INTO user_concurrency (user_id) VALUES (\(user))")
            }
            try connection.query("INSERT INTO repo_concurrency (repo) VALUES ('acme/shop')")
            _ = try fixture.submit(connection)
            _ = try fixture.submit(connection, user: bob)
            let threads = IOThreads(name: "admission", count: 1)
            // As the schema counts a task of bob's that ends: the user first, then the repository.
            try connection.execute(script: "BEGIN")
            try connection.query("UPDATE user_concurrency SET running = running WHERE user_id = \(bob)")
            let count = Self.begin(on: threads) {
                try Self.patient(fixture).transaction { try AdmissionStore.pass(userSlots: 3, nodeSilence: 30, in: $0) }
            }
            try await Self.untilOneWaits(fixture)
            try connection.query("UPDATE repo_concurrency SET running = running")
            try connection.execute(script: "COMMIT")
            #expect(try await count().admitted == 2)
            await threads.stopped()
        }
    }

    @Test func `a timer of a task that is being worked on waits for its turn`() async throws {
        try await Fixture.with { fixture in
            let (one, two) = (try fixture.connection(), try fixture.connection())
            let id = try Self.running(fixture, one)
            try TimerStore.set(.duration, of: id, attempt: 1, inSeconds: -1, in: one)
            try one.transaction { tx in
                try TaskLog.append(.agentError, to: id, attempt: 1, in: tx)
                #expect(try two.transaction { try TimerStore.fire(limit: 10, in: $0) }.isEmpty)
            }
            #expect(try two.transaction { try TimerStore.fire(limit: 10, in: $0) }.map(\.taskID) == [id])
        }
    }

    @Test func `a task's timeline goes with its task`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            try connection.query("DELETE FROM tasks WHERE task_id = \(id.rawValue)")
            for table in ["task_heads", "task_events", "task_commands"] {
                #expect(try connection.query("SELECT 1 FROM " + Query(unescaped: table)).isEmpty)
            }
        }
    }

    /// What an agent or its node writes; true when it was taken.
    private static func write(_ call: String, _ id: TaskID, _ connection: Connection) throws -> Bool {
        try connection.transaction { tx in
            switch call {
            case "start":
                try SessionStore.start(id, attempt: 1, in: tx)
                return try SessionStore.load(id, attempt: 1, in: tx)?.state == "running"
            case "end": return try SessionStore.end(id, attempt: 1, result: [:], in: tx)
            case "lose": return try SessionStore.lose(id, attempt: 1, reason: "x", in: tx)
            default: return try SessionStore.lockLive(id, attempt: 1, in: tx) != nil
            }
        }
    }

    /// A connection whose wait ends with the test's own, however slow the machine is.
    private static func patient(_ fixture: Fixture) throws -> Connection {
        try Connection(
            PostgresConfig(
                url: fixture.url, applicationName: "store-tests", lockTimeout: .seconds(60),
                statementTimeout: .seconds(60),
                idleInTransactionTimeout: .seconds(120)))
    }

    /// Begins on a thread of its own at once, however busy Swift's are; what is returned waits for the end.
    private static func begin<Result: Sendable>(
        on threads: IOThreads, _ body: @escaping @Sendable () throws -> Result
    ) -> () async throws -> Result {
        let end = Lock<Swift.Result<Result, any Error>?>(nil)
        _ = threads.submit {
            let result = Swift.Result { try body() }
            end.withLock { $0 = result }
        }
        return { try await eventually("the other side ends", within: .seconds(60)) { end.withLock { $0 } }.get() }
    }

    private static func untilOneWaits(_ fixture: Fixture) async throws {
        let watcher = try fixture.connection()
        try await eventually("somebody waits for a lock", within: .seconds(60)) {
            try !watcher.query(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).isEmpty
        }
    }

    /// A task at work with a session in that state.
    private static func running(
        _ fixture: Fixture, _ connection: Connection, status: String = "RUNNING", session: String = "running"
    ) throws -> TaskID {
        let id = try fixture.submit(connection)
        for state in status == "HYDRATING" ? [status] : ["HYDRATING", status] {
            try connection.query("UPDATE tasks SET status = \(state) WHERE task_id = \(id.rawValue)")
        }
        try connection.query(
            """
            INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload)
            VALUES (\(id.rawValue), 1, \(session), 'process', 'n1', clock_timestamp() + interval '1 minute', '{}')
            """)
        return id
    }

    private static let failure = TaskFailure(
        code: "c", category: .compute, title: "t", description: "d", remedy: "r", retryable: true)
}
