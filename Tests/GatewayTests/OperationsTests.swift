import Domain
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

@Suite struct OperationsTests {
    // MARK: - doctor

    @Test func `doctor tells administrators what to mend and nobody else`() async throws {
        try await World.with { world async throws in
            let member = try await world.person("ada")
            #expect(try await world.get("/v1/doctor", as: member).status == 403)
            let checks: [Check] = [.failed("model", "refuses our key", remedy: "Set a valid key.")]
            try await world.pool.run { connection in
                for service in Diagnosis.required {
                    try ReportStore.write(
                        ServiceReport(
                            service: service, instance: "h:1", version: Release.version, schema: 8, everySeconds: 15,
                            checks: service == "agent-gateway" ? checks : []), uptime: 5, in: connection)
                }
                try NodeStore.beat("n1", backend: "process", capacity: 2, in: connection)
            }
            let answer = try await world.get("/v1/doctor")
            #expect(answer.status == 200)
            #expect(answer.data["ok"] == false)
            let failures = answer.data["failures"]?.array ?? []
            #expect(failures.map { $0["check"]?.string } == ["model"])
            #expect(failures.first?["remedy"] == "Set a valid key.")
            #expect(answer.data["services"]?.array?.count == Diagnosis.required.count + Diagnosis.optional.count)
        }
    }

    // MARK: - logs

    private func write(_ lines: [TaskLogLine], _ id: TaskID, service: String, _ world: World) async throws {
        try await world.pool.run { connection in
            try connection.query(try TaskLogStore.append(lines, to: id, service: service, instance: "i"))
        }
    }

    private func messages(_ answer: World.Answer) -> [String] {
        answer.data.array?.compactMap { $0["message"]?.string } ?? []
    }

    @Test func `a task's log is paged and narrowed`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let path = "/v1/tasks/\(id)/logs"
            #expect(try await world.get(path).data == [])
            for number in 1...5 {
                try await write(
                    [TaskLogLine(level: number == 3 ? "error" : "info", message: "o\(number)")], id,
                    service: "orchestrator", world)
                try await write(
                    [TaskLogLine(attempt: 1, level: "info", message: "a\(number)", fields: ["turn": 1])], id,
                    service: "agent", world)
            }
            var seen: [String] = []
            var page = try await world.get(path + "?limit=3")
            while true {
                seen += messages(page)
                guard let next = page.next else { break }
                page = try await world.get(path + "?limit=3&next_token=\(next)")
            }
            #expect(seen == (1...5).flatMap { ["o\($0)", "a\($0)"] })
            #expect(messages(try await world.get(path + "?after=8")) == ["o5", "a5"])
            #expect(messages(try await world.get(path + "?service=agent&limit=2")) == ["a1", "a2"])
            #expect(messages(try await world.get(path + "?level=warning")) == ["o3"])
            #expect(try await world.get(path + "?level=loud").status == 400)
            #expect(try await world.get(path + "?after=-1").status == 400)
        }
    }

    @Test func `who waits for a line is answered by the first that fits`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            let path = "/v1/tasks/\(id)/logs?service=agent&wait=20"
            async let waiting = world.get(path)
            try await write([TaskLogLine(level: "info", message: "no")], id, service: "relay", world)
            try await write([TaskLogLine(level: "info", message: "yes")], id, service: "agent", world)
            #expect(messages(try await waiting) == ["yes"])
            #expect(try await world.get("/v1/tasks/\(id)/logs?after=99&wait=1").data == [])
            try await world.bring(id, to: .cancelled)
            // Nothing more is to come: there is no wait.
            #expect(try await world.get("/v1/tasks/\(id)/logs?after=99&wait=25").data == [])
        }
    }

    // MARK: - top

    @Test func `top tells of everything around a task`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit(["repo": "acme/shop", "issue_number": 42])
            var top = try await world.get("/v1/tasks/\(id)/top").data
            #expect(top["sandbox"] == .null)
            #expect(top["status"]?["queue_position"] == 1)
            let waiting = try #require(top["outbox"]?["messages"]?.integer)
            #expect(waiting > 0)
            try await world.bring(id, to: .running)
            try await world.append(
                .agentCostUpdate, to: id,
                ["cost_usd": 0.5, "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 7])
            try await world.append(
                .agentCostUpdate, to: id, ["cost_usd": 0.25, "input_tokens": 11, "output_tokens": 2])
            try await world.append(.agentToolCall, to: id, ["tool_name": "Bash"])
            try await world.pool.run { connection in
                try connection.query(
                    """
                    INSERT INTO sessions (task_id, attempt, backend, payload, state, node, claimed_at, lease_until, usage)
                    VALUES (\(id.rawValue), 1, 'process', '{}', 'running', 'n1', now() - interval '1 min',
                        now() + interval '40 s', '{"cpu_percent": 12.5, "memory_bytes": 1048576, "pids": 3}')
                    """)
                for (number, state) in ["planned", "unknown", "dead", "dead"].enumerated() {
                    try connection.query(
                        """
                        INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload, state)
                        VALUES (\("e\(number)"), \(id.rawValue), 'slack', 'C1', 'task_failed', '{}', \(state))
                        """)
                }
            }
            top = try await world.get("/v1/tasks/\(id)/top").data
            #expect(top["tokens"] == ["input": 111, "output": 22, "cache_read": 7])
            #expect(top["cost_last_5_min_usd"]?.number == 0.75)
            #expect(top["tool_age_s"]?.integer != nil)
            #expect(top["sandbox"]?["cpu_percent"]?.number == 12.5)
            #expect(top["sandbox"]?["pids"] == 3)
            let left = try #require(top["sandbox"]?["lease_left_s"]?.integer)
            #expect(left >= 0 && left <= 40)
            #expect(top["notifications"] == ["waiting": 1, "unknown": 1, "dead": 2])
            #expect(top["events"]?.array?.first?["event_type"] == "agent_tool_call")
        }
    }

    // MARK: - repository checks

    @Test func `a repository's check is asked for by administrators and read by all`() async throws {
        try await World.with { world async throws in
            let path = "/v1/repos/acme/shop/check"
            let member = try await world.person("ada")
            #expect(try await world.get(path).status == 404)
            #expect(try await world.call("POST", path, as: member).status == 403)
            #expect(try await world.call("POST", "/v1/repos/acme/none/check").status == 404)
            let asked = try await world.call("POST", path)
            #expect(asked.status == 202)
            #expect(asked.data["state"] == "pending")
            try await world.pool.run { connection in
                let taken = try RepoCheckStore.take(limit: 1, in: connection)
                for request in taken {
                    try RepoCheckStore.answer(
                        request.repo, requestedAt: request.requestedAt,
                        [.failed("push", "may not push", remedy: "Give it write access.")], in: connection)
                }
            }
            let answer = try await world.get(path, as: member)
            #expect(answer.data["state"] == "failed")
            #expect(answer.data["checks"]?.array?.first?["remedy"] == "Give it write access.")
            let failures = try await world.get("/v1/doctor").data["failures"]?.array ?? []
            #expect(failures.contains { $0["service"] == "repository" && $0["instance"] == "acme/shop" })
        }
    }
}
