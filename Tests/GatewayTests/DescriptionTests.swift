import Domain
import HTTPTypes
import Postgres
import Store
import Telemetry
import Testing

@testable import Gateway

@Suite struct DescriptionTests {
    @Test func `the description lists exactly the routes that exist`() async throws {
        try await World.with { world async throws in
            let answer = try await world.call("GET", "/v1/openapi.json", anonymous: true)
            #expect(answer.status == 200)
            #expect(answer.body["openapi"] == "3.1.0")
            let described = Set(
                (answer.body["paths"]?.object ?? [:]).flatMap { path, methods in
                    (methods.object ?? [:]).keys.map { "\($0.uppercased()) \(path)" }
                })
            #expect(described == Set(world.api.endpoints.map { "\($0.method) \($0.pattern)" }))
            let names = (answer.body["paths"]?.object ?? [:]).values.flatMap { ($0.object ?? [:]).values }
                .compactMap { $0["operationId"]?.string }
            #expect(Set(names).count == described.count)
        }
    }

    private func conversation(
        _ id: String, _ world: World,
        _ call: (String, String, String?, JSONValue?) async throws -> World.Answer
    ) async throws {
        let task = try #require(TaskID(rawValue: id))
        let (nudges, asks) = ("/v1/tasks/{task_id}/nudges", "/v1/tasks/{task_id}/asks")
        let told = try await call("POST", "/v1/tasks/{task_id}/nudge", "/v1/tasks/\(id)/nudge", ["message": "hear"])
        let nudge = "/v1/tasks/\(id)/nudges/\(told.data["nudge_id"]?.string ?? "")"
        _ = try await call("GET", nudges, "/v1/tasks/\(id)/nudges", nil)
        _ = try await call("GET", nudges + "/{nudge_id}", nudge, nil)
        _ = try await call("DELETE", nudges + "/{nudge_id}", nudge, nil)
        let asked = try await call("POST", asks, "/v1/tasks/\(id)/asks", ["question": "why?"])
        _ = try await call("GET", asks, "/v1/tasks/\(id)/asks", nil)
        _ = try await call("GET", asks + "/{ask_id}", "/v1/tasks/\(id)/asks/\(asked.data["ask_id"]?.string ?? "")", nil)
        let question = try await world.pool.transaction { tx in
            let record = try #require(try TaskStore.lock(task, in: tx))
            return try QuestionStore.ask(
                "which?", options: ["a"], clientID: "1", seconds: 60, of: record, in: tx)
        }
        try await world.bring(task, to: .running)
        let gates = try await world.pool.transaction { tx in
            try ["1", "2", "3"].compactMap { name in
                let record = try #require(try TaskStore.lock(task, in: tx))
                return try ApprovalStore.open(
                    ["tool_name": "Bash", "summary": "s", "scopes": []], clientID: name, seconds: 60, of: record, in: tx
                )
            }
        }
        let approvals = "/v1/tasks/{task_id}/approvals"
        _ = try await call("GET", approvals, "/v1/tasks/\(id)/approvals", nil)
        _ = try await call("GET", approvals + "/{request_id}", "/v1/tasks/\(id)/approvals/\(gates[0].id)", nil)
        _ = try await call("GET", "/v1/approvals/{request_id}", "/v1/approvals/\(gates[0].id)", nil)
        _ = try await call("GET", "/v1/pending", nil, nil)
        for (gate, (suffix, body)) in zip(
            gates, [("", ["decision": "deny"]), ("/approve", [:]), ("/deny", [:])] as [(String, JSONValue)])
        {
            _ = try await call(
                "POST", approvals + "/{request_id}" + suffix, "/v1/tasks/\(id)/approvals/\(gate.id)\(suffix)", body)
        }
        for (gate, name) in zip(gates.prefix(2), ["deny", "approve"]) {
            // Each was decided like that before, so this changes nothing.
            _ = try await call(
                "POST", "/v1/tasks/{task_id}/\(name)", "/v1/tasks/\(id)/\(name)", ["request_id": .string(gate.id)])
        }
        let path = "/v1/tasks/\(id)/questions/\(question.id)"
        _ = try await call("GET", "/v1/tasks/{task_id}/questions/{question_id}", path, nil)
        _ = try await call("POST", "/v1/tasks/{task_id}/questions/{question_id}", path, ["answer": "a"])
    }

    /// One call of every operation that succeeds; the world holds each answer against its schema.
    @Test func `every described route answers as described`() async throws {
        try await World.with { world async throws in
            var called: Set<String> = []
            func call(
                _ method: String, _ pattern: String, _ path: String? = nil, _ body: JSONValue? = nil
            ) async throws -> World.Answer {
                called.insert("\(method) \(pattern)")
                let answer = try await world.call(method, path ?? pattern, body: body)
                #expect((200..<300).contains(answer.status), "\(method) \(pattern): \(answer.body.text)")
                return answer
            }
            let task = try await call("POST", "/v1/tasks", nil, ["repo": "acme/shop", "issue_number": 3])
            let id = task.data["task_id"]?.string ?? ""
            _ = try await call("GET", "/v1/tasks")
            _ = try await call("GET", "/v1/tasks/{task_id}", "/v1/tasks/\(id)")
            _ = try await call("GET", "/v1/tasks/{task_id}/status", "/v1/tasks/\(id)/status")
            _ = try await call("GET", "/v1/tasks/{task_id}/events", "/v1/tasks/\(id)/events")
            _ = try await call("GET", "/v1/tasks/{task_id}/logs", "/v1/tasks/\(id)/logs")
            _ = try await call("GET", "/v1/tasks/{task_id}/top", "/v1/tasks/\(id)/top")
            called.insert("GET /v1/traces/{task_id}")
            called.insert("GET /v1/tasks/{task_id}/trace")
            try await conversation(id, world, call)
            _ = try await call("DELETE", "/v1/tasks/{task_id}", "/v1/tasks/\(id)")
            try await world.bring(try #require(TaskID(rawValue: id)), to: .cancelled)
            _ = try await call("POST", "/v1/tasks/{task_id}/retry", "/v1/tasks/\(id)/retry")
            _ = try await call("POST", "/v1/repos", nil, ["repo": "acme/new"])
            _ = try await call("GET", "/v1/repos")
            _ = try await call("GET", "/v1/repos/{owner}/{name}", "/v1/repos/acme/new")
            _ = try await call("PATCH", "/v1/repos/{owner}/{name}", "/v1/repos/acme/new", ["model": "m"])
            let check = "/v1/repos/{owner}/{name}/check"
            _ = try await call("POST", check, "/v1/repos/acme/new/check")
            _ = try await call("GET", check, "/v1/repos/acme/new/check")
            _ = try await call("GET", "/v1/doctor")
            _ = try await call("GET", "/v1/audit/verification")
            // These ask the policy service, which is not here: Tests/system/test_policies.py holds what it answers.
            let policies = "/v1/repos/{owner}/{name}/policies"
            let away = [
                try await world.get("/v1/repos/acme/new/policies"),
                try await world.call("POST", "/v1/policies/validate", body: ["policies": ""]),
                try await world.call("POST", "/v1/policies/test", body: ["tool_name": "Bash", "input": [:]]),
            ]
            #expect(away.map(\.code) == ["POLICY_UNAVAILABLE", "POLICY_UNAVAILABLE", "POLICY_UNAVAILABLE"])
            called.formUnion(["GET \(policies)", "POST /v1/policies/validate", "POST /v1/policies/test"])
            try await operations(world, call)
            _ = try await call("GET", "/v1/me")
            _ = try await call("GET", "/v1/users")
            _ = try await call("POST", "/v1/users", nil, ["name": "ada"])
            let grants = "/v1/repos/{owner}/{name}/grants"
            _ = try await call("PUT", grants + "/{user}", "/v1/repos/acme/new/grants/ada", ["level": "submit"])
            _ = try await call("GET", grants, "/v1/repos/acme/new/grants")
            _ = try await call("DELETE", grants + "/{user}", "/v1/repos/acme/new/grants/ada")
            _ = try await call("DELETE", "/v1/repos/{owner}/{name}", "/v1/repos/acme/new")
            let once = try await call("POST", "/v1/users/{user}/password", "/v1/users/ada/password")
            let fresh: JSONValue = "three green herons"
            let login = try await call(
                "POST", "/v1/login", nil,
                ["name": "ada", "password": once.data["password"] ?? .null, "new_password": fresh])
            let ada = try world.session(login)
            let changed = try await world.call(
                "POST", "/v1/me/password", as: ada, body: ["password": fresh, "new_password": "four grey herons"])
            let left = try await world.call("POST", "/v1/logout", as: try world.session(changed))
            #expect(changed.status == 200 && left.status == 200)
            called.formUnion(["POST /v1/me/password", "POST /v1/logout"])
            _ = try await call("GET", "/v1/users/{user}", "/v1/users/ada")
            _ = try await call("PATCH", "/v1/users/{user}", "/v1/users/ada", ["role": "viewer"])
            let token = try await call("POST", "/v1/users/{user}/tokens", "/v1/users/ada/tokens", [:])
            _ = try await call("GET", "/v1/users/{user}/tokens", "/v1/users/ada/tokens")
            _ = try await call(
                "DELETE", "/v1/tokens/{token_id}", "/v1/tokens/\(token.data["token_id"]?.string ?? "")")
            _ = try await call("DELETE", "/v1/users/{user}", "/v1/users/ada")
            _ = try await call("GET", "/v1/openapi.json")
            #expect(called == Set(world.api.endpoints.map { "\($0.method) \($0.pattern)" }))
            let exposition = world.metrics.exposition()
            #expect(
                exposition.contains(
                    #"bgagent_http_request_seconds_count{method="POST",route="/v1/tasks",status="201"} 1"#))
        }
    }

    private func operations(
        _ world: World, _ call: (String, String, String?, JSONValue?) async throws -> World.Answer
    ) async throws {
        try await world.pool.run { connection in
            try NodeStore.beat("n1", backend: "process", capacity: 4, in: connection)
            for seq in 1...2 {
                try ConsumerStore.deadLetter(
                    "fanout", queue: "fanout.1", task: world.admin.id.rawValue, seq: Int64(seq), messageID: nil,
                    reason: "no", body: "{}", in: connection)
            }
        }
        _ = try await call("POST", "/v1/admin/pause", nil, [:])
        _ = try await call("POST", "/v1/admin/resume", nil, [:])
        _ = try await call("GET", "/v1/admin/state", nil, nil)
        for verb in ["drain", "resume"] {
            _ = try await call("POST", "/v1/admin/nodes/{node}/\(verb)", "/v1/admin/nodes/n1/\(verb)", nil)
        }
        let letters = try await call("GET", "/v1/dead-letters", nil, nil).body["data"]?.array ?? []
        let ids = letters.compactMap { $0["dead_letter_id"]?.string }
        try #require(ids.count == 2)
        let one = "/v1/dead-letters/{dead_letter_id}"
        _ = try await call("GET", one, "/v1/dead-letters/\(ids[0])", nil)
        _ = try await call("POST", one + "/replay", "/v1/dead-letters/\(ids[0])/replay", [:])
        _ = try await call("POST", one + "/drop", "/v1/dead-letters/\(ids[1])/drop", [:])
    }

    @Test func `the description says what every body takes`() async throws {
        try await World.with { world async throws in
            let answer = try await world.call("GET", "/v1/openapi.json")
            func body(_ method: String, _ path: String) -> JSONValue? {
                answer.body["paths"]?[path]?[method]?["requestBody"]?["content"]?["application/json"]?["schema"]
            }
            let task = body("post", "/v1/tasks")
            #expect(task?["required"] == ["repo"])
            #expect(task?["additionalProperties"] == false)
            #expect(task?["properties"]?["max_turns"]?["maximum"] == 500)
            // What may be left out may be null.
            #expect(task?["properties"]?["max_turns"]?["type"] == ["integer", "null"])
            #expect(task?["properties"]?["repo"]?["type"] == "string")
            #expect(body("post", "/v1/tasks/{task_id}/approvals/{request_id}")?["required"] == ["decision"])
            #expect(body("put", "/v1/repos/{owner}/{name}/grants/{user}")?["required"] == ["level"])
            #expect(task?["properties"]?["task_type"] != nil)
            #expect(body("post", "/v1/repos")?["properties"]?["credential_ref"] != nil)
            #expect(body("patch", "/v1/repos/{owner}/{name}")?["required"] == nil)
            let parameters = answer.body["paths"]?["/v1/tasks/{task_id}/events"]?["get"]?["parameters"]?.array
            let names = parameters?.compactMap { $0["name"]?.string } ?? []
            #expect(Set(names) == ["task_id", "after", "next_token", "limit", "type", "desc", "wait"])
        }
    }
}
