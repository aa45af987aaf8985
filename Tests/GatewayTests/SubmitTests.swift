import Domain
import HTTPTypes
import Postgres
import Store
import Telemetry
import Testing

@testable import Gateway

@Suite struct SubmitTests {
    private static let body: JSONValue = ["repo": "acme/shop", "task_description": "Fix the rounding\nof prices"]

    @Test func `a submit commits the task, its first event and its first command together`() async throws {
        try await World.with { world async throws in
            let answer = try await world.call(
                "POST", "/v1/tasks", body: Self.body,
                headers: ["traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
            #expect(answer.status == 201)
            let id = try #require(answer.data["task_id"]?.string.flatMap { TaskID(rawValue: $0) })
            #expect(answer.data["status"] == "SUBMITTED")
            #expect(answer.data["branch_name"]?.string == "bgagent/\(id)/fix-the-rounding")
            #expect(answer.data["base_branch"] == "main")
            #expect(answer.data["resolved_workflow"] == ["id": "coding/new-task-v1", "version": "1.0.0"])
            #expect(answer.data["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736")
            #expect(answer.data["queue_position"] == 1)
            #expect(answer.data["estimated_wait_s"] == 600)
            #expect(try await world.timeline(id) == ["task_created"])
            #expect(try await world.commands(id) == ["task_submitted"])
            #expect(try await world.count("SELECT count(*) FROM outbox WHERE task_id = \(id.rawValue)") == 2)
            let shown = try await world.get("/v1/tasks/\(id)")
            #expect(shown.data == answer.data)
        }
    }

    @Test func `limits are the task's over the repository's over the platform's`() async throws {
        try await World.with({ $0.maxBudget = USD(micros: 7_500_000) }) { world async throws in
            let repo: JSONValue = [
                "repo": "acme/limits", "max_turns": 40, "max_budget_usd": 2.5, "max_duration_s": 600, "model": "m-1",
            ]
            #expect(try await world.call("POST", "/v1/repos", body: repo).status == 201)
            func limits(_ body: JSONValue) async throws -> JSONValue {
                let data = try await world.call("POST", "/v1/tasks", body: body).data
                return [
                    data["max_turns"] ?? .null, data["max_budget_usd"] ?? .null, data["max_duration_s"] ?? .null,
                    data["model"] ?? .null,
                ]
            }
            #expect(try await limits(Self.body) == [100, 7.5, 28_800, "claude-sonnet-4-5"])
            #expect(try await limits(["repo": "acme/limits", "issue_number": 7]) == [40, 2.5, 600, "m-1"])
            let own: JSONValue = [
                "repo": "acme/limits", "issue_number": 7, "max_turns": 3, "max_budget_usd": 0.01, "max_duration_s": 9,
            ]
            #expect(try await limits(own) == [3, 0.01, 9, "m-1"])
        }
    }

    @Test func `a task keeps the repository's settings as they were`() async throws {
        try await World.with { world async throws in
            let settings: JSONValue = [
                "setup_command": "make deps", "build_command": "make", "test_command": "make test",
                "lint_command": "make lint", "system_prompt_overrides": "Be brief.", "credential_ref": "shop-token",
                "allow_ci_changes": true, "allow_secrets": true, "approval_gates": true, "policies": "",
                "approvers": ["admin"], "second_person": true, "approval_gate_cap": 9, "approval_timeout_s": 60,
                "unanswered_question": "park",
                "commit_name": "Shop Bot", "commit_email": "bot@example.org",
            ]
            #expect(try await world.call("PATCH", "/v1/repos/acme/shop", body: settings).status == 200)
            let id = try await world.submit()
            #expect(try await world.call("PATCH", "/v1/repos/acme/shop", body: ["test_command": .null]).status == 200)
            let stored = try await world.pool.run { connection in
                try TaskStore.load(id, in: connection)?.settings
            }
            #expect(stored == settings)
        }
    }

    @Test func `a branch is named after the work`() throws {
        let names: [(JSONValue, String)] = [
            (["task_description": "Fix the failing test"], "fix-the-failing-test"),
            (["task_description": "  \n  Überall: 1+1 = 3?!  "], "berall-1-1-3"), (["issue_number": 42], "issue-42"),
            (["task_description": "日本語", "issue_number": 7], "issue-7"), (["task_description": "日本語"], "task"),
            (
                ["task_description": .string(String(repeating: "long words ", count: 20))],
                "long-words-long-words-long-words-long-words-long-w"
            ),
        ]
        for (members, slug) in names {
            var reader = FieldReader(members)
            #expect(TaskBody(&reader).slug == slug)
        }
    }

    @Test func `of sixteen submits with one key at once, one makes the task`() async throws {
        try await World.with { world async throws in
            let answers = try await withThrowingTaskGroup(of: World.Answer.self) { group in
                for _ in 0..<16 {
                    group.addTask {
                        try await world.call(
                            "POST", "/v1/tasks", body: Self.body, headers: ["Idempotency-Key": "nightly-42"])
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.filter { $0.status == 201 }.count == 1)
            #expect(answers.filter { $0.status == 200 }.count == 15)
            #expect(answers.filter { $0.headers["Idempotent-Replay"] == "true" }.count == 15)
            #expect(Set(answers.compactMap { $0.data["task_id"]?.string }).count == 1)
            #expect(try await world.count("SELECT count(*) FROM tasks") == 1)
            #expect(try await world.count("SELECT count(*) FROM task_events") == 1)
        }
    }

    @Test func `submits of many people that are committed together are each as if alone`() async throws {
        try await World.with { world async throws in
            let people = [try await world.person("ada"), try await world.person("ben"), try await world.person("cy")]
            let answers = try await withThrowingTaskGroup(of: (key: String?, World.Answer).self) { group in
                for number in 0..<48 {
                    // Of four in a row one has no key, and three have one that the same user has used before.
                    let key = number % 4 == 0 ? nil : "k\(number / 16)"
                    let person = people[number % 3]
                    group.addTask {
                        let body: JSONValue = ["repo": "acme/shop", "task_description": "Mend it"]
                        let headers: Headers = key.map { ["Idempotency-Key": $0] } ?? [:]
                        return (
                            key, try await world.call("POST", "/v1/tasks", as: person, body: body, headers: headers)
                        )
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let made = answers.filter { $0.1.status == 201 }.compactMap { $0.1.data["task_id"]?.string }
            #expect(Set(made).count == made.count)
            #expect(answers.allSatisfy { [200, 201].contains($0.1.status) })
            #expect(answers.filter { $0.key == nil }.allSatisfy { $0.1.status == 201 })
            // Three people with three keys each, and twelve without.
            #expect(made.count == 12 + 9)
            #expect(try await world.count("SELECT count(*) FROM tasks") == made.count)
            #expect(try await world.count("SELECT count(*) FROM task_heads JOIN tasks USING (task_id)") == made.count)
            #expect(try await world.count("SELECT count(*) FROM task_events JOIN tasks USING (task_id)") == made.count)
            #expect(
                try await world.count("SELECT count(*) FROM task_commands JOIN tasks USING (task_id)") == made.count)
            #expect(try await world.count("SELECT count(*) FROM outbox") == 2 * made.count)
            #expect(try await world.count("SELECT count(DISTINCT message_id) FROM outbox") == 2 * made.count)
            #expect(try await world.count("SELECT count(*) FROM idempotency_keys") == 9)
        }
    }

    @Test func `a key answers with the task as it now is, for the same body of the same user only`() async throws {
        try await World.with { world async throws in
            let key: Headers = ["Idempotency-Key": "k1"]
            func post(_ text: String, _ person: World.Person? = nil) async throws -> World.Answer {
                try await world.call("POST", "/v1/tasks", as: person, text: text, headers: key)
            }
            let first = try await post(#"{"repo":"acme/shop","task_description":"One"}"#)
            #expect(first.status == 201)
            let id = try #require(first.data["task_id"]?.string.flatMap { TaskID(rawValue: $0) })
            try await world.bring(id, to: .running)
            #expect(try await world.call("DELETE", "/v1/repos/acme/shop").status == 200)
            let again = try await post(#"{ "task_description" : "One", "repo" : "acme\/shop" }"#)
            #expect(again.status == 200)
            #expect(again.data["task_id"]?.string == id.rawValue)
            #expect(again.data["status"] == "RUNNING")
            let other = try await post(#"{"repo":"acme/shop","task_description":"Two"}"#)
            #expect(other.status == 422)
            #expect(other.code == "IDEMPOTENCY_KEY_REUSED")
            #expect(try await world.call("POST", "/v1/repos", body: ["repo": "acme/shop"]).status == 201)
            let stranger = try await world.person("ben")
            let theirs = try await post(#"{"repo":"acme/shop","task_description":"One"}"#, stranger)
            #expect(theirs.status == 201)
            #expect(theirs.data["task_id"]?.string != id.rawValue)
        }
    }

    @Test func `too many waiting tasks of one user are refused until one goes on`() async throws {
        try await World.with({ $0.maxQueuedPerUser = 3 }) { world async throws in
            let ada = try await world.person("ada")
            let ids = [
                try await world.submit(as: ada), try await world.submit(as: ada), try await world.submit(as: ada),
            ]
            let refused = try await world.call("POST", "/v1/tasks", as: ada, body: Self.body)
            #expect(refused.status == 429)
            #expect(refused.code == "RATE_LIMIT_EXCEEDED")
            #expect(refused.message.contains("admission_rejected"))
            #expect(refused.headers["Retry-After"] == "300")
            #expect(try await world.get("/v1/tasks/\(ids[2])", as: ada).data["queue_position"] == 3)
            _ = try await world.submit()
            try await world.bring(ids[0], to: .hydrating)
            #expect(try await world.get("/v1/tasks/\(ids[2])", as: ada).data["queue_position"] == 2)
            _ = try await world.submit(as: ada)
        }
    }

    @Test func `a burst of one user's submits ends at the limit of waiting tasks`() async throws {
        try await World.with({ $0.maxQueuedPerUser = 5 }) { world async throws in
            let answers = try await withThrowingTaskGroup(of: World.Answer.self) { group in
                for _ in 0..<40 {
                    group.addTask {
                        try await world.call(
                            "POST", "/v1/tasks", body: ["repo": "acme/shop", "task_description": "Mend it"])
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let made = answers.filter { $0.status == 201 }.count
            #expect(made == 5)
            #expect(answers.filter { $0.status == 429 }.count == 40 - made)
            #expect(try await world.count("SELECT count(*) FROM tasks") == made)
        }
    }

    @Test func `older names of the workflow are the same workflow`() async throws {
        try await World.with { world async throws in
            for (name, value) in [
                ("workflow_ref", "coding/new-task-v1"), ("workflow_ref", "coding/new-task-v1@1.0.0"),
                ("task_type", "new_task"), ("task_type", "coding/new-task-v1"),
            ] {
                _ = try await world.submit([
                    "repo": "acme/shop", "issue_number": 1, name: .string(value), "trace": false, "pr_number": .null,
                ])
            }
        }
    }

    @Test func `notifications are stored in one form`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit([
                "repo": "acme/shop", "issue_number": 1,
                "notifications": [
                    "slack": ["enabled": true, "channel": "#builds", "events": "verbose"],
                    "email": ["enabled": false, "channel": .null], "github": ["events": ["pr_created", "default"]],
                ],
            ])
            let shown = try await world.get("/v1/tasks/\(id)").data["notifications"]
            #expect(
                shown == [
                    "slack": ["enabled": true, "channel": "#builds", "events": ["verbose"]],
                    "email": ["enabled": false], "github": ["events": ["pr_created", "default"]],
                ])
        }
    }
}
