import Domain
import Postgres
import Store
import Testing
import TestSupport

@Suite struct AdmissionTests {
    @Test func `users take turns and a user's own tasks keep their order`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let second = "01ARZ3NDEKTSV4RRFFQ69G5FB0"
            try connection.query("INSERT INTO users (user_id, name) VALUES (\(second), 'bob')")
            try connection.query("UPDATE compute_nodes SET capacity = 4")
            let first = try (0..<6).map { _ in try fixture.submit(connection) }
            let others = try (0..<6).map { _ in try fixture.submit(connection, user: second) }
            let count = try Self.pass(connection)
            #expect(count.admitted == 4)
            #expect(count.queued == 8)
            #expect(try Self.hydrating(connection) == Set(first.prefix(2) + others.prefix(2)))
        }
    }

    @Test func `a user's slots and a repository's slots are never exceeded`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            for _ in 0..<5 { _ = try fixture.submit(connection) }
            #expect(try Self.pass(connection).admitted == 3)
            try connection.query("INSERT INTO repos (repo, max_concurrent) VALUES ('acme/narrow', 1)")
            for index in 0..<3 {
                let user = "01ARZ3NDEKTSV4RRFFQ69G5FC\(index)"
                try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), \("u\(index)"))")
                _ = try fixture.submit(connection, user: user, repo: "acme/narrow")
            }
            #expect(try Self.pass(connection).admitted == 1)
            #expect(try Self.pass(connection).admitted == 0)
        }
    }

    @Test func `a node that went silent offers no places`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            try connection.query("UPDATE compute_nodes SET last_seen = now() - interval '1 hour'")
            _ = try fixture.submit(connection)
            #expect(try Self.pass(connection).admitted == 0)
        }
    }

    @Test func `nothing starts where work is paused, and places are kept`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let user = try #require(UserID(rawValue: LedgerFixture.user))
            let first = try fixture.submit(connection)
            try PauseStore.pause(PauseStore.everywhere, reason: nil, by: user, in: connection)
            let held = try Self.pass(connection)
            #expect((held.admitted, held.queued) == (0, 1))
            let reason: String = try connection.query(
                "SELECT metadata->>'reason' AS r FROM task_events WHERE event_type = 'admission_queued'"
            ).only().get("r")
            #expect(reason == "paused")
            #expect(try PauseStore.resume(PauseStore.everywhere, in: connection))
            try connection.query("INSERT INTO repos (repo) VALUES ('acme/other')")
            try PauseStore.pause("acme/shop", reason: "freeze", by: user, in: connection)
            let other = try fixture.submit(connection, repo: "acme/other")
            #expect(try Self.pass(connection).admitted == 1)
            #expect(try Self.hydrating(connection) == [other])
            #expect(try PauseStore.resume("acme/shop", in: connection))
            #expect(try Self.pass(connection).admitted == 1)
            #expect(try Self.hydrating(connection) == [first, other])
        }
    }

    @Test func `one pass runs at a time`() async throws {
        try await Fixture.with { fixture in
            let (one, two) = (try fixture.connection(), try fixture.connection())
            _ = try fixture.submit(one)
            try one.execute(script: "BEGIN")
            #expect(try AdmissionStore.pass(userSlots: 3, nodeSilence: 30, in: one).ran)
            #expect(try !Self.pass(two).ran)
            try one.execute(script: "COMMIT")
        }
    }

    @Test func `a lost attempt keeps its place and the last one ends the task`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            for attempt in 1...2 {
                #expect(try Self.pass(connection).admitted == 1)
                let task = try #require(try TaskStore.load(id, in: connection))
                #expect(task.attempt == attempt)
                try connection.transaction { tx in
                    _ = try TaskStore.loseAttempt(
                        task, TaskFailure(code: "c", category: .compute, title: "t", description: "d", remedy: "r"),
                        in: tx)
                }
            }
            let ended = try #require(try TaskStore.load(id, in: connection))
            #expect(ended.status == .failed)
            let types = try connection.query(
                "SELECT event_type FROM task_events WHERE task_id = \(id.rawValue) ORDER BY seq"
            ).map { try $0.get("event_type", as: String.self) }
            #expect(
                types == [
                    "task_created", "hydration_started", "attempt_lost", "hydration_started", "attempt_lost",
                    "task_failed",
                ])
        }
    }

    private static func pass(_ connection: Connection) throws -> AdmissionCount {
        try connection.transaction { try AdmissionStore.pass(userSlots: 3, nodeSilence: 30, in: $0) }
    }

    private static func hydrating(_ connection: Connection) throws -> Set<TaskID> {
        Set(try connection.query("SELECT task_id FROM tasks WHERE status = 'HYDRATING'").map { try $0.ulid("task_id") })
    }
}
