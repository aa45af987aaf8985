import Domain
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite struct SessionStoreTests {
    @Test func `of eight nodes that claim a session at once one gets it`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let threads = IOThreads(name: "claim", count: 8)
            for _ in 0..<10 {
                let task = try Self.requested(fixture, connection)
                let won = try await race(threads, 8) { index in
                    try fixture.connection().transaction { tx in
                        try SessionStore.claim(
                            task.id, attempt: 1, node: "n\(index)", tokens: Self.tokens("\(task.id)-\(index)"),
                            lease: 60, in: tx) ? index : nil
                    }
                }.compactMap { $0 }
                #expect(won.count == 1)
                let session = try #require(try SessionStore.load(task.id, attempt: 1, in: connection))
                #expect(session.node == won.first.map { "n\($0)" })
                #expect(session.state == "claimed")
                #expect(try Self.commands(task.id, connection).filter { $0 == "session_claimed" }.count == 1)
            }
            await threads.stopped()
        }
    }

    @Test func `a heartbeat revives a lease that is over until the attempt is moved`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try Self.claimed(fixture, connection, lease: 0)
            #expect(try SessionStore.expired(limit: 10, in: connection).map(\.id) == [task.id])
            #expect(try SessionStore.renew(task.id, attempt: 1, lease: 60, in: connection))
            #expect(try SessionStore.expired(limit: 10, in: connection).isEmpty)
            try connection.transaction { tx in
                let current = try #require(try TaskStore.lock(task.id, in: tx))
                _ = try TaskStore.loseAttempt(current, Self.failure, in: tx)
            }
            #expect(try !SessionStore.renew(task.id, attempt: 1, lease: 60, in: connection))
            #expect(try SessionStore.load(task.id, attempt: 1, in: connection)?.state == "void")
            #expect(try TaskStore.load(task.id, in: connection)?.attempt == 2)
        }
    }

    @Test func `an expired lease that somebody works on is left to him`() async throws {
        try await Fixture.with { fixture in
            let (one, two) = (try fixture.connection(), try fixture.connection())
            let task = try Self.claimed(fixture, one, lease: 0)
            try one.execute(script: "BEGIN")
            #expect(try SessionStore.expired(limit: 10, in: one).map(\.id) == [task.id])
            #expect(try SessionStore.expired(limit: 10, in: two).isEmpty)
            try one.execute(script: "COMMIT")
        }
    }

    @Test func `a token opens its own scope and dies with the task`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try Self.claimed(fixture, connection)
            for scope in SessionScope.allCases {
                let hash = "\(task.id)-\(scope.rawValue)"
                for other in SessionScope.allCases {
                    let found = try SessionStore.authenticate(tokenHash: hash, scope: other, in: connection)
                    #expect((found?.taskID == task.id) == (scope == other))
                }
            }
            try connection.transaction { tx in
                let current = try #require(try TaskStore.lock(task.id, in: tx))
                _ = try TaskStore.move(current, on: .cancelled, in: tx)
            }
            for scope in SessionScope.allCases {
                let hash = "\(task.id)-\(scope.rawValue)"
                #expect(try SessionStore.authenticate(tokenHash: hash, scope: scope, in: connection) == nil)
            }
            #expect(try !SessionStore.renew(task.id, attempt: 1, lease: 60, in: connection))
        }
    }

    @Test func `a session of a task that was cancelled cannot be claimed`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try Self.requested(fixture, connection)
            try connection.transaction { tx in _ = try TaskStore.move(task, on: .cancelled, in: tx) }
            let isClaimed = try connection.transaction { tx in
                try SessionStore.claim(task.id, attempt: 1, node: "n1", tokens: Self.tokens("x"), lease: 60, in: tx)
            }
            #expect(!isClaimed)
            #expect(try SessionStore.requested(backend: "process", limit: 10, in: connection).isEmpty)
        }
    }

    @Test func `a result is stored once`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let task = try Self.claimed(fixture, connection)
            for result in ["completed", "failed"] {
                try connection.transaction { tx in
                    try SessionStore.start(task.id, attempt: 1, in: tx)
                    try SessionStore.end(task.id, attempt: 1, result: ["outcome": .string(result)], in: tx)
                }
            }
            #expect(try SessionStore.result(task.id, attempt: 1, in: connection)?["outcome"]?.string == "completed")
            let told = try Self.commands(task.id, connection).filter { $0.hasPrefix("session_") }
            #expect(told == ["session_claimed", "session_started", "session_ended"])
            let isLost = try connection.transaction { tx in
                try SessionStore.lose(task.id, attempt: 1, reason: "late", in: tx)
            }
            #expect(!isLost)
        }
    }

    private static let failure = TaskFailure(code: "c", category: .compute, title: "t", description: "d", remedy: "r")

    private static func tokens(_ name: String) -> SessionTokenHashes {
        SessionTokenHashes(harness: "\(name)-harness", git: "\(name)-git", model: "\(name)-model")
    }

    /// A task in HYDRATING whose session waits for a node.
    private static func requested(_ fixture: Fixture, _ connection: Connection) throws -> TaskRecord {
        let id = try fixture.submit(connection)
        return try connection.transaction { tx in
            let task = try #require(try TaskStore.lock(id, in: tx))
            let moved = try TaskStore.move(task, on: .admitted, event: .hydrationStarted, in: tx)
            try SessionStore.request(moved, backend: "process", payload: [:], in: tx)
            return moved
        }
    }

    private static func claimed(
        _ fixture: Fixture, _ connection: Connection, lease: Int = 60
    ) throws -> TaskRecord {
        let task = try requested(fixture, connection)
        let isClaimed = try connection.transaction { tx in
            try SessionStore.claim(
                task.id, attempt: 1, node: "n1", tokens: tokens("\(task.id)"), lease: lease, in: tx)
        }
        #expect(isClaimed)
        return task
    }

    private static func commands(_ id: TaskID, _ connection: Connection) throws -> [String] {
        try connection.query("SELECT command FROM task_commands WHERE task_id = \(id.rawValue) ORDER BY seq").map {
            try $0.get("command")
        }
    }
}
