import Domain
import HTTPTypes
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct RetryTests {
    private static let asked: JSONValue = [
        "repo": "acme/shop", "task_description": "Fix the rounding", "issue_number": 7, "max_turns": 9,
        "max_budget_usd": 1.5, "max_duration_s": 600, "notifications": ["slack": ["enabled": false]], "trace": true,
    ]

    private static func retry(
        _ id: TaskID, as person: World.Person? = nil, key: String? = nil, _ world: World
    ) async throws -> World.Answer {
        try await world.call(
            "POST", "/v1/tasks/\(id)/retry", as: person, headers: key.map { ["Idempotency-Key": $0] } ?? [])
    }

    @Test func `a task that has ended is asked for once more, as it was`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit(Self.asked)
            try await world.bring(id, to: .failed)
            let again = try await Self.retry(id, world)
            #expect(again.status == 201)
            let other = try #require(again.data["task_id"]?.string.flatMap { TaskID(rawValue: $0) })
            #expect(other != id)
            #expect(again.data["status"] == "SUBMITTED")
            #expect(again.data["retry_of"] == .string(id.rawValue))
            #expect(try await world.get("/v1/tasks/\(other)").data["retry_of"] == .string(id.rawValue))
            #expect(try await world.get("/v1/tasks/\(id)").data["retry_of"] == .null)
            for name in [
                "repo", "task_description", "issue_number", "max_turns", "max_budget_usd", "max_duration_s",
                "notifications",
            ] {
                #expect(again.data[name] == Self.asked[name], "\(name)")
            }
            let settings = try await world.pool.run { try TaskStore.load(other, in: $0)?.settings }
            #expect(settings?["trace"] == true)
            #expect(try await world.get("/v1/tasks/\(id)").data["status"] == "FAILED")
            let told = """
                SELECT count(*) FROM audit_log WHERE action = 'task.retry' AND subject = '\(id)'
                    AND detail ->> 'task_id' = '\(other)'
                """
            #expect(try await world.count(Query(unescaped: told)) == 1)
            #expect(try await world.count("SELECT count(*) FROM audit_log WHERE action = 'task.retry'") == 1)
        }
    }

    @Test(arguments: TaskStatus.allCases.filter { !$0.isFinal })
    func `a task that is not over is not asked for once more`(status: TaskStatus) async throws {
        try await World.with { world async throws in
            let id = try await world.submit(Self.asked)
            try await world.bring(id, to: status)
            let refused = try await Self.retry(id, world)
            #expect(refused.status == 409)
            #expect(refused.code == "TASK_NOT_OVER")
            #expect(try await world.count("SELECT count(*) FROM tasks") == 1)
        }
    }

    @Test func `the same key makes one task, whoever may steer may, and it is theirs`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            let id = try await world.submit(Self.asked, as: ada)
            try await world.bring(id, to: .completed)
            #expect(try await Self.retry(id, as: ben, world).code == "TASK_NOT_FOUND")
            try await world.pool.run {
                try $0.query("INSERT INTO repo_grants VALUES ('acme/shop', \(ben.id.rawValue), 'submit')")
                return
            }
            #expect(try await Self.retry(id, as: ben, world).code == "FORBIDDEN")
            try await world.pool.run {
                try $0.query("UPDATE repo_grants SET level = 'steer'"); return
            }
            let first = try await Self.retry(id, as: ben, key: "k", world)
            #expect(first.status == 201)
            #expect(first.data["user_id"]?.string == ben.id.rawValue)
            let second = try await Self.retry(id, as: ben, key: "k", world)
            #expect(second.status == 200)
            #expect(second.data["task_id"] == first.data["task_id"])
        }
    }

    @Test func `a repository that was taken off takes none, and limits hold`() async throws {
        try await World.with({ $0.maxQueuedPerUser = 1 }) { world async throws in
            let id = try await world.submit(Self.asked)
            try await world.bring(id, to: .cancelled)
            #expect(try await Self.retry(id, world).status == 201)
            #expect(try await Self.retry(id, world).status == 429)
            try await world.pool.run {
                try $0.query("UPDATE repos SET deleted_at = now()"); return
            }
            #expect(try await Self.retry(id, world).code == "REPO_NOT_ONBOARDED")
        }
    }
}
