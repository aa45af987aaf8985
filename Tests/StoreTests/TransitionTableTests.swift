import Domain
import Postgres
import Store
import Testing
import TestSupport

@Suite struct TransitionTableTests {
    private struct Pair: Hashable {
        let from: TaskStatus
        let to: TaskStatus
    }

    /// The moves of the pure value, over every state and trigger.
    private static let moves: Set<Pair> = Set(
        TaskStatus.allCases.flatMap { from in
            TaskTrigger.allCases.compactMap { trigger in
                TaskTransition(from: from, on: trigger).map { Pair(from: from, to: $0.to) }
            }
        })

    @Test func `the database and the value hold the same table`() async throws {
        try await Fixture.with { fixture in
            let rows = try fixture.connection().query("SELECT from_status, to_status FROM task_transitions")
            let stored = try rows.map { row in
                Pair(
                    from: try #require(TaskStatus(rawValue: try row.get("from_status", as: String.self))),
                    to: try #require(TaskStatus(rawValue: try row.get("to_status", as: String.self))))
            }
            #expect(Set(stored) == Self.moves)
        }
    }

    @Test func `the trigger lets every move through and refuses every other pair`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            for from in TaskStatus.allCases {
                for to in TaskStatus.allCases where to != from {
                    let id = try fixture.submit(connection)
                    try Self.force(id, into: from, connection)
                    let refusal = Self.change(id, to: to, connection)
                    let isMove = Self.moves.contains(Pair(from: from, to: to))
                    #expect((refusal == nil) == isMove, "\(from) -> \(to): \(refusal ?? "let through")")
                    if !isMove { #expect(refusal == "BG001", "\(from) -> \(to)") }
                }
            }
        }
    }

    @Test func `a cancel comes too late once the pull request is intended`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            try Self.force(id, into: .finalizing, connection)
            let task = try #require(try TaskStore.load(id, in: connection))
            try PullRequestStore.intend(task, [:], in: connection)
            #expect(Self.change(id, to: .cancelled, connection) == "BG001")
            #expect(Self.change(id, to: .completed, connection) == nil)
        }
    }

    @Test func `slots add up over any walk through the states`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<20 {
                let id = try fixture.submit(connection)
                for _ in 0..<12 {
                    let task = try #require(try TaskStore.load(id, in: connection))
                    let triggers = TaskTrigger.allCases.filter { TaskTransition(from: task.status, on: $0) != nil }
                    guard let trigger = triggers.randomElement(using: &generator) else { break }
                    var changes = TaskChanges()
                    if trigger == .failed { changes.error = Self.failure }
                    if trigger == .parked { changes.wakeCondition = ["kind": "test"] }
                    try connection.transaction { tx in _ = try TaskStore.move(task, on: trigger, changes, in: tx) }
                    let sums = try connection.query(
                        """
                        SELECT (SELECT coalesce(sum(running), 0) FROM user_concurrency)::bigint AS users,
                            (SELECT coalesce(sum(running), 0) FROM repo_concurrency)::bigint AS repos,
                            (SELECT count(*) FROM tasks WHERE holds_slot(status)) AS held
                        """
                    ).only()
                    let held = try sums.get("held", as: Int.self)
                    #expect(try sums.get("users", as: Int.self) == held)
                    #expect(try sums.get("repos", as: Int.self) == held)
                }
            }
            #expect(try connection.transaction { try SweepStore.recountSlots(in: $0) } == 0)
        }
    }

    private static let failure = TaskFailure(
        code: "test", category: .agent, title: "t", description: "d", remedy: "r")

    /// Puts a task into a state without a move: the trigger is off for this one statement.
    private static func force(_ id: TaskID, into status: TaskStatus, _ connection: Connection) throws {
        try connection.execute(
            script: """
                BEGIN;
                ALTER TABLE tasks DISABLE TRIGGER USER;
                UPDATE tasks SET status = '\(status.rawValue)', started_at = now(),
                    completed_at = CASE WHEN is_final('\(status.rawValue)') THEN now() END, error = '{}',
                    wake_condition = CASE WHEN '\(status.rawValue)' = 'PARKED' THEN '{}'::jsonb END
                    WHERE task_id = '\(id)';
                ALTER TABLE tasks ENABLE TRIGGER USER;
                COMMIT;
                """)
        try connection.query(
            """
            INSERT INTO user_concurrency (user_id, running) VALUES (\(Fixture.user), 1000)
            ON CONFLICT (user_id) DO UPDATE SET running = 1000
            """)
        try connection.query(
            """
            INSERT INTO repo_concurrency (repo, running) VALUES ('acme/shop', 1000)
            ON CONFLICT (repo) DO UPDATE SET running = 1000
            """)
    }

    /// Nil when the change went through, else the SQLSTATE of its refusal.
    private static func change(_ id: TaskID, to status: TaskStatus, _ connection: Connection) -> String? {
        do {
            try connection.query(
                """
                UPDATE tasks SET status = \(status.rawValue), error = '{}',
                    wake_condition = CASE WHEN \(status.rawValue)::text = 'PARKED' THEN '{}'::jsonb
                        ELSE wake_condition END
                WHERE task_id = \(id.rawValue)
                """)
            return nil
        } catch let error as PostgresError {
            return error.sqlState
        } catch {
            return "\(error)"
        }
    }
}
