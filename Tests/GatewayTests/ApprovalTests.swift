import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// Gates: the row, the task's state and its clock, and who is first.
@Suite struct ApprovalTests {
    @Test func `the first gate stops the task and its clock, the last lets them go on`() async throws {
        try await World.with { world async throws in
            let id = try await running(world)
            let first = try #require(try await open("one", of: id, world))
            #expect(try await open("one", of: id, world)?.id == first.id)
            let second = try #require(try await open("two", of: id, world))
            #expect(try await status(id, world) == "AWAITING_APPROVAL")
            #expect(try await timers(id, world) == 0)
            #expect(try await world.timeline(id).filter { $0 == "approval_required" }.count == 2)

            try await world.pool.run {
                try $0.query(
                    "UPDATE tasks SET status_changed_at = status_changed_at - interval '1 hour', version = version")
                return
            }
            let approved = try await decide(first.id, of: id, ["decision": "approve"], world)
            #expect(approved.data["state"] == "APPROVED")
            #expect(approved.data["scope"] == "this_call")
            #expect(try await status(id, world) == "AWAITING_APPROVAL")
            let denied = try await decide(second.id, of: id, ["decision": "deny", "reason": "not today"], world)
            #expect(denied.data["state"] == "DENIED")
            #expect(try await status(id, world) == "RUNNING")
            #expect(try await timers(id, world) == 1)
            // An hour of waiting is not the task's: nearly all of its time is left.
            let left = try await world.pool.run { try TaskStore.load(id, in: $0)?.remainingSeconds ?? 0 }
            #expect(left > 28_700)

            let inbox = try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }
            #expect(inbox.map(\.kind) == ["decision", "decision"])
            #expect(inbox.last?.payload["state"] == "denied")
            #expect(inbox.last?.payload["reason"] == "not today")
        }
    }

    @Test func `the first decision counts, the same again is none, another is told who was first`() async throws {
        try await World.with { world async throws in
            let ben = try await world.person("ben", role: .admin)
            let id = try await running(world)
            let gate = try #require(try await open("one", of: id, world))
            let allow: JSONValue = ["decision": "approve", "scope": "write_path:.env"]
            #expect(try await decide(gate.id, of: id, allow, world).status == 200)
            #expect(try await decide(gate.id, of: id, allow, as: ben, world).status == 200)
            let other = try await decide(gate.id, of: id, ["decision": "deny"], as: ben, world)
            #expect(other.status == 409)
            #expect(other.code == "REQUEST_ALREADY_DECIDED")
            #expect(try await world.timeline(id).filter { $0 == "approval_decided" }.count == 1)
            let allowed = try await world.pool.run { try ApprovalStore.allowances(id, in: $0) }
            #expect(allowed == ["write_path:.env"])
            let audited = try await world.count(
                "SELECT count(*) FROM audit_log WHERE action = 'approval.approve' AND subject = \(id.rawValue)")
            #expect(audited == 1)
            // Who only has the request's id finds it, if they may see its task.
            let found = try await world.get("/v1/approvals/\(gate.id)", as: ben)
            #expect(found.data["task_id"]?.string == id.rawValue)
            #expect(found.data["decided_by"]?.string == "admin")
            try await world.pool.run {
                try $0.query("UPDATE repos SET access = 'restricted'"); return
            }
            let eve = try await world.person("eve")
            #expect(try await world.get("/v1/approvals/\(gate.id)", as: eve).code == "REQUEST_NOT_FOUND")
            #expect(try await world.get("/v1/approvals/01JZ0000000000000000000001").code == "REQUEST_NOT_FOUND")
        }
    }

    @Test func `the short routes decide what is named, or the only one that is open`() async throws {
        try await World.with { world async throws in
            let id = try await running(world)
            let short = "/v1/tasks/\(id)"
            #expect(try await world.call("POST", short + "/deny", body: [:]).code == "NOTHING_PENDING")
            let one = try #require(try await open("one", of: id, world))
            let two = try #require(try await open("two", of: id, world))
            let both = try await world.call("POST", short + "/approve", body: [:])
            #expect(both.code == "REQUEST_AMBIGUOUS")
            #expect(both.message.contains(one.id) && both.message.contains(two.id))
            let denied = try await world.call(
                "POST", short + "/deny",
                body: ["request_id": .string(one.id), "reason": .string("é" + String(repeating: "ü", count: 1_999))])
            #expect(denied.data["state"] == "DENIED")
            #expect(denied.data["request_id"]?.string == one.id)
            let approved = try await world.call("POST", short + "/approve", body: ["scope": "this_call"])
            #expect(approved.data["request_id"]?.string == two.id)
            let late = try await world.call("POST", short + "/approve", body: ["request_id": .string(one.id)])
            #expect(late.code == "REQUEST_ALREADY_DECIDED")
        }
    }

    @Test func `silence is no, whoever looks first, and a late decision is told so`() async throws {
        try await World.with { world async throws in
            let id = try await running(world)
            let gate = try #require(try await open("one", of: id, world))
            try await world.pool.run {
                try $0.query("UPDATE task_approvals SET expires_at = clock_timestamp()")
                return
            }
            let late = try await decide(gate.id, of: id, ["decision": "approve"], world)
            #expect(late.code == "REQUEST_EXPIRED")
            #expect(try await world.get("/v1/pending").data == [])
            #expect(try await expire(gate.id, of: id, world) == .timedOut)
            #expect(try await expire(gate.id, of: id, world) == .timedOut)
            #expect(try await status(id, world) == "RUNNING")
            #expect(try await world.timeline(id).filter { $0 == "approval_decided" }.count == 1)
            let decided = try #require(try await open("two", of: id, world))
            _ = try await decide(decided.id, of: id, ["decision": "approve"], world)
            #expect(try await expire(decided.id, of: id, world) == .approved)
        }
    }

    @Test func `an agent in a loop gets no more gates, and a lost one takes its gates with it`() async throws {
        try await World.with { world async throws in
            let id = try await running(world)
            for number in 0..<ApprovalStore.mostPerMinute { _ = try await open("\(number)", of: id, world) }
            #expect(try await open("more", of: id, world) == nil)
            #expect(try await open("3", of: id, world) != nil)
            try await world.pool.run {
                try $0.query("UPDATE task_approvals SET created_at = created_at - interval '1 minute'")
                return
            }
            #expect(try await open("more", of: id, world) != nil)
            let left = try await world.pool.run { connection -> Int in
                guard let task = try TaskStore.load(id, in: connection) else { return -1 }
                return try ApprovalStore.left(task, in: connection)
            }
            #expect(left == 50 - ApprovalStore.mostPerMinute - 1)
            try await world.pool.transaction { tx in
                guard let task = try TaskStore.lock(id, in: tx) else { return }
                let failure = TaskFailure(
                    code: "lease_lost", category: .compute, title: "", description: "", remedy: "", retryable: true)
                try TaskStore.loseAttempt(task, failure, in: tx)
            }
            #expect(try await status(id, world) == "QUEUED")
            let states = try await world.get("/v1/tasks/\(id)/approvals").data.array?.compactMap { $0["state"]?.string }
            #expect(Set(states ?? []) == ["VOID"])
        }
    }

    @Test func `only scopes that the request offers, and only who may steer`() async throws {
        try await World.with { world async throws in
            let (ada, vera) = (try await world.person("ada"), try await world.person("vera"))
            _ = try await world.call("PUT", "/v1/repos/acme/shop/grants/vera", body: ["level": "read"])
            let id = try await running(world, as: ada)
            let gate = try #require(try await open("one", of: id, world))
            for body: JSONValue in [
                ["decision": "approve", "scope": "all_session"], ["decision": "deny", "scope": "this_call"], [:],
                ["decision": "maybe"], ["decision": "deny", "reason": .string(String(repeating: "x", count: 2_001))],
            ] {
                #expect(
                    try await decide(gate.id, of: id, body, as: ada, world).status == 400, "\(body.text.prefix(60))")
            }
            #expect(try await decide(gate.id, of: id, ["decision": "approve"], as: vera, world).status == 403)
            #expect(try await world.get("/v1/pending", as: vera).data.array?.count == 1)
            let none = try await decide("01JZ0000000000000000000001", of: id, ["decision": "deny"], as: ada, world)
            #expect(none.code == "REQUEST_NOT_FOUND")
            let path = "/v1/tasks/\(id)/approvals/\(gate.id)"
            #expect(try await world.get(path, as: vera).data["state"] == "PENDING")
            #expect(try await world.call("POST", path + "/deny", as: ada, body: ["reason": "no"]).status == 200)
            #expect(try await world.call("POST", path + "/approve", as: ada, body: [:]).status == 409)
        }
    }

    @Test func `a repository's approvers and its second person are asked for at the gate`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            let cleo = try await world.person("cleo")
            for name in ["ben", "cleo"] {
                let grant = "/v1/repos/acme/shop/grants/\(name)"
                #expect(try await world.call("PUT", grant, body: ["level": "steer"]).status == 200)
            }
            let rules: JSONValue = ["approvers": ["ada", "ben"], "second_person": true]
            #expect(try await world.call("PATCH", "/v1/repos/acme/shop", body: rules).status == 200)
            let id = try await running(world, as: ada)
            let gate = try #require(try await open("one", of: id, world))
            let yes: JSONValue = ["decision": "approve"]
            #expect(try await decide(gate.id, of: id, yes, as: ada, world).code == "SECOND_PERSON_REQUIRED")
            #expect(try await decide(gate.id, of: id, yes, as: cleo, world).status == 403)
            #expect(try await decide(gate.id, of: id, yes, as: ben, world).data["decided_by"] == "ben")
            let other = try #require(try await open("two", of: id, world))
            #expect(try await decide(other.id, of: id, ["decision": "deny"], as: ada, world).status == 200)
        }
    }

    @Test func `a task that is cancelled while a gate is open ends, and the gate with it`() async throws {
        try await World.with { world async throws in
            let id = try await running(world)
            let gate = try #require(try await open("one", of: id, world))
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").status == 202)
            #expect(try await decide(gate.id, of: id, ["decision": "approve"], world).code == "TASK_CANCELLING")
            try await world.pool.transaction { tx in
                guard let task = try TaskStore.lock(id, in: tx) else { return }
                try TaskStore.move(task, on: .cancelled, in: tx)
            }
            #expect(try await world.get("/v1/tasks/\(id)/approvals/\(gate.id)").data["state"] == "VOID")
            #expect(try await world.timeline(id).last == "task_cancelled")
        }
    }

    // MARK: - Help

    private func running(_ world: World, as person: World.Person? = nil) async throws -> TaskID {
        let id = try await world.submit(as: person)
        try await world.bring(id, to: .running)
        try await world.pool.transaction { tx in
            try TimerStore.set(.duration, of: id, attempt: 1, inSeconds: 28_800, in: tx)
        }
        return id
    }

    private func open(_ name: String, of id: TaskID, _ world: World) async throws -> ApprovalRecord? {
        try await world.pool.transaction { tx in
            let task = try #require(try TaskStore.lock(id, in: tx))
            return try ApprovalStore.open(
                ["tool_name": "Bash", "summary": "writes settings", "scopes": ["this_call", "write_path:.env"]],
                clientID: name, seconds: 300, of: task, in: tx)
        }
    }

    private func expire(_ gate: String, of id: TaskID, _ world: World) async throws -> ApprovalState? {
        try await world.pool.transaction { tx in
            try ApprovalStore.expire(gate, of: try #require(try TaskStore.lock(id, in: tx)), in: tx)?.state
        }
    }

    private func decide(
        _ gate: String, of id: TaskID, _ body: JSONValue, as person: World.Person? = nil, _ world: World
    ) async throws -> World.Answer {
        try await world.call("POST", "/v1/tasks/\(id)/approvals/\(gate)", as: person, body: body)
    }

    private func status(_ id: TaskID, _ world: World) async throws -> String? {
        try await world.get("/v1/tasks/\(id)").data["status"]?.string
    }

    private func timers(_ id: TaskID, _ world: World) async throws -> Int {
        try await world.count("SELECT count(*) FROM timers WHERE task_id = \(id.rawValue) AND kind = 'duration'")
    }
}
