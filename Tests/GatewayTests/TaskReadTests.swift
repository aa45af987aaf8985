import Domain
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct TaskReadTests {
    @Test func `pages neither skip nor repeat a task while others are submitted`() async throws {
        try await World.with { world async throws in
            var expected: [String] = []
            for _ in 0..<25 { expected.append(try await world.submit().rawValue) }
            let writer = Task {
                while !Task.isCancelled { _ = try await world.submit() }
            }
            var seen: [String] = []
            var token: String?
            repeat {
                let page = try await world.get("/v1/tasks?limit=4" + (token.map { "&next_token=\($0)" } ?? ""))
                seen += page.data.array?.compactMap { $0["task_id"]?.string } ?? []
                #expect(page.hasMore == (page.next != nil))
                token = page.next
            } while token != nil
            writer.cancel()
            _ = await writer.result
            #expect(Set(seen).count == seen.count)
            let old = Set(expected)
            #expect(seen.filter { old.contains($0) } == expected.reversed())
        }
    }

    @Test func `a list is narrowed by state and repository before it is cut into pages`() async throws {
        try await World.with { world async throws in
            #expect(try await world.call("POST", "/v1/repos", body: ["repo": "acme/other"]).status == 201)
            var running: [String] = []
            for index in 0..<6 {
                let repo = index % 2 == 0 ? "acme/shop" : "acme/other"
                let id = try await world.submit(["repo": .string(repo), "issue_number": 1])
                if index < 4 {
                    try await world.bring(id, to: .running)
                    running.append(id.rawValue)
                }
            }
            func ids(_ query: String) async throws -> [String] {
                try await world.get("/v1/tasks?\(query)").data.array?.compactMap { $0["task_id"]?.string } ?? []
            }
            #expect(try await ids("status=RUNNING") == running.reversed())
            #expect(try await ids("status=RUNNING,SUBMITTED").count == 6)
            #expect(try await ids("status=RUNNING&repo=acme/shop&limit=1") == [running[2]])
            #expect(try await ids("repo=acme%2Fother").count == 3)
            #expect(try await ids("status=FAILED").isEmpty)
        }
    }

    @Test func `status is the snapshot of each moment`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit(["repo": "acme/shop", "issue_number": 42, "max_budget_usd": 5])
            func status() async throws -> JSONValue { try await world.get("/v1/tasks/\(id)/status").data }
            var now = try await status()
            #expect(now["waiting_for"]?["kind"] == "admission")
            #expect(now["queue_position"] == 1)
            #expect(now["last_event"]?["event_type"] == "task_created")
            #expect(now["last_milestone"] == .null)
            try await world.bring(id, to: .running)
            try await world.append(.agentTurn, to: id, ["turn": 12])
            try await world.append(.agentMilestone, to: id, ["milestone": "repo_setup_complete"])
            try await world.append(.agentToolCall, to: id, ["tool_name": "Bash"])
            try await world.pool.run {
                try $0.query("UPDATE task_heads SET cost_usd = 0.4231 WHERE task_id = \(id.rawValue)")
                return
            }
            now = try await status()
            #expect(now["status"] == "RUNNING")
            #expect(now["turn"] == 12)
            #expect(now["current_tool"] == "Bash")
            #expect(now["waiting_for"] == .null)
            #expect(now["queue_position"] == .null)
            #expect(now["last_milestone"]?["name"] == "repo_setup_complete")
            #expect(now["last_milestone"]?["age_s"]?.integer != nil)
            #expect(now["cost_usd"] == 0.4231)
            #expect(now["max_budget_usd"] == 5)
            #expect(now["last_event"]?["event_type"] == "agent_tool_call")
            #expect(now["last_event"]?["seq"]?.integer == Int64(try await world.timeline(id).count))
            #expect(now["last_milestone"]?["details"] == .null)
            let report: JSONValue = ["milestone": "progress", "details": "Done: found it. Next: rounding"]
            try await world.append(.agentMilestone, to: id, report)
            try await world.append(.agentTurn, to: id, ["turn": 13])
            now = try await status()
            #expect(now["last_milestone"]?["name"] == "progress")
            #expect(now["last_milestone"]?["details"] == "Done: found it. Next: rounding")
            try await world.append(.agentMilestone, to: id, ["milestone": "verify_started"])
            #expect(try await status()["last_milestone"]?["details"] == .null)
        }
    }

    @Test func `a failed task tells what happened and what to do about it`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .failed)
            let detail = try await world.get("/v1/tasks/\(id)").data
            let error = detail["error_classification"]
            #expect(error?["category"] == "config")
            #expect(error?["title"] == "No such repository")
            #expect(error?["remedy"] == "Check the name.")
            #expect(error?["retryable"] == false)
            #expect(error?["errorClass"] == "user")
            #expect(detail["completed_at"]?.string != nil)
            let status = try await world.get("/v1/tasks/\(id)/status").data
            #expect(status["error"]?["code"] == "repo_not_found")
            #expect(status["waiting_for"] == .null)
        }
    }

    @Test func `what a parked task waits for is told`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .parked)
            let waiting = try await world.get("/v1/tasks/\(id)/status").data["waiting_for"]
            #expect(waiting == ["kind": "budget", "detail": "more money"])
        }
    }

    @Test func `HEAD is answered like GET, without a body`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let head = try await world.call("HEAD", "/v1/tasks/\(id)")
            #expect(head.status == 200)
            #expect(head.body == .null)
        }
    }
}
