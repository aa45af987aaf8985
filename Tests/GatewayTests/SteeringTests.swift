import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// Reaching a running agent, as far as the gateway goes: what is kept, told, refused and ended.
@Suite struct SteeringTests {
    private static let nudge: JSONValue = ["message": "use the decimal module"]

    // MARK: - Nudges

    @Test func `a nudge is kept in every state that has a future, in its mode, and told in the timeline`() async throws
    {
        try await World.with { world async throws in
            for status in TaskStatus.allCases {
                let id = try await world.submit()
                try await world.bring(id, to: status)
                let answer = try await world.call("POST", "/v1/tasks/\(id)/nudge", body: Self.nudge)
                #expect(answer.status == (status.isFinal ? 409 : 202), "\(status)")
                guard !status.isFinal else {
                    #expect(answer.code == "TASK_ALREADY_TERMINAL")
                    continue
                }
                #expect(answer.data["state"] == "accepted")
                #expect(answer.data["mode"] == "next")
                #expect(try await world.timeline(id).last == "nudge_accepted")
                let inbox = try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }
                #expect(inbox.map(\.kind) == ["nudge"])
                #expect(inbox.first?.id == answer.data["nudge_id"]?.string)
                #expect(inbox.first?.payload["text"] == "use the decimal module")
                #expect(inbox.first?.payload["from"]?.string == answer.data["user_name"]?.string)
            }
        }
    }

    @Test func `ten nudges a minute reach one task, whoever sends them`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            for number in 1...10 {
                let mode = number.isMultiple(of: 2) ? "steer" : "interrupt"
                let body: JSONValue = ["message": .string("\(number)"), "mode": .string(mode)]
                #expect(try await world.call("POST", "/v1/tasks/\(id)/nudge", body: body).status == 202)
            }
            let refused = try await world.call("POST", "/v1/tasks/\(id)/nudge", body: Self.nudge)
            #expect(refused.status == 429)
            #expect(refused.headers["Retry-After"] == "60")
            let other = try await world.submit()
            #expect(try await world.call("POST", "/v1/tasks/\(other)/nudge", body: Self.nudge).status == 202)
            try await world.pool.run {
                try $0.query("UPDATE task_nudges SET submitted_at = submitted_at - interval '1 minute'")
                return
            }
            #expect(try await world.call("POST", "/v1/tasks/\(id)/nudge", body: Self.nudge).status == 202)
        }
    }

    @Test func `what is too long, empty or of no mode is refused, and a secret is taken out before it is kept`()
        async throws
    {
        try await World.with { world async throws in
            let id = try await world.submit()
            let path = "/v1/tasks/\(id)/nudge"
            for body: JSONValue in [
                ["message": ""], ["message": "  "], ["message": .string(String(repeating: "x", count: 2_049))],
                ["message": .string(String(repeating: "é", count: 1_500))], ["message": "a", "mode": "loud"], [:],
                ["message": "a", "more": 1],
            ] {
                #expect(try await world.call("POST", path, body: body).status == 400, "\(body.text.prefix(60))")
            }
            let secret = "ghp_" + String(repeating: "a1B2", count: 10)
            let kept = try await world.call("POST", path, body: ["message": .string("  use \(secret) here ")])
            #expect(kept.data["message"] == "use [redacted GitHub token] here")
            let stored = try await world.pool.run { connection in
                try connection.query(
                    "SELECT (SELECT string_agg(payload::text, '') FROM inbox) || message FROM task_nudges"
                )
                .only().get(0, as: String.self)
            }
            #expect(!stored.contains(secret))
        }
    }

    @Test func `a nudge is taken back until an agent has it, and an agent never gets what was taken back`() async throws
    {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let ids = try await Self.send(2, to: id, world)
            for _ in 0..<2 {
                let left = try await world.call("DELETE", "/v1/tasks/\(id)/nudges/\(ids[0])")
                #expect(left.status == 200)
                #expect(left.data["state"] == "withdrawn")
            }
            #expect(try await world.timeline(id).filter { $0 == "nudge_withdrawn" }.count == 1)
            #expect(try await Self.receive(ids[0], of: id, world) == .withdrawn)
            #expect(try await Self.receive(ids[1], of: id, world) == .taken)
            let late = try await world.call("DELETE", "/v1/tasks/\(id)/nudges/\(ids[1])")
            #expect(late.status == 409)
            #expect(late.code == "NUDGE_TAKEN")
            let none = try await world.call("DELETE", "/v1/tasks/\(id)/nudges/01JZ0000000000000000000001")
            #expect(none.status == 404)
        }
    }

    @Test func `receipts come once each, and what an agent died with is shown to the next under its id`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let nudge = try await Self.send(1, to: id, world)[0]
            for _ in 0..<2 { #expect(try await Self.receive(nudge, of: id, world) == .taken) }
            #expect(try await Self.shown(id, attempt: 1, world) == [])
            #expect(try await Self.shown(id, attempt: 2, world) == [nudge])
            for _ in 0..<2 {
                #expect(try await Self.receive(nudge, of: id, isDelivered: true, turn: 4, world) == .taken)
            }
            #expect(try await Self.shown(id, attempt: 3, world) == [])
            let shown = try await world.get("/v1/tasks/\(id)/nudges/\(nudge)")
            #expect(shown.data["state"] == "delivered")
            #expect(shown.data["turn"] == 4)
            let timeline = try await world.timeline(id)
            #expect(
                timeline.filter { $0.hasPrefix("nudge_") } == [
                    "nudge_accepted", "nudge_acknowledged", "nudge_delivered",
                ])
        }
    }

    @Test func `a task that ends tells which nudges came too late, before its final event`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let ids = try await Self.send(3, to: id, world)
            _ = try await Self.receive(ids[0], of: id, isDelivered: true, turn: 1, world)
            _ = try await Self.receive(ids[1], of: id, world)
            try await world.pool.transaction { tx in
                guard let task = try TaskStore.lock(id, in: tx) else { return }
                try TaskStore.move(task, on: .cancelled, in: tx)
            }
            #expect(try await world.timeline(id).suffix(3) == ["nudge_expired", "nudge_expired", "task_cancelled"])
            let states = try await world.get("/v1/tasks/\(id)/nudges").data.array?.compactMap { $0["state"]?.string }
            #expect(states == ["delivered", "expired", "expired"])
        }
    }

    // MARK: - Who may

    @Test func `owners, admins and holders of a grant steer; readers look; to others there is no task`() async throws {
        try await World.with { world async throws in
            let names = ["owner", "steers", "submits", "reads", "stranger"]
            var people: [String: World.Person] = [:]
            for name in names { people[name] = try await world.person(name) }
            people["viewer"] = try await world.person("viewer", role: .viewer)
            let levels: [String: GrantLevel] = [
                "steers": .steer, "submits": .submit, "reads": .read, "viewer": .steer,
            ]
            for (name, level) in levels {
                let path = "/v1/repos/acme/shop/grants/\(name)"
                _ = try await world.call("PUT", path, body: ["level": .string(level.rawValue)])
            }
            let id = try await world.submit(as: people["owner"])
            try await world.bring(id, to: .running)
            let expected = ["owner": 202, "steers": 202, "submits": 403, "reads": 403, "viewer": 403, "stranger": 404]
            for (name, status) in expected {
                let person = people[name]
                let nudge = try await world.call("POST", "/v1/tasks/\(id)/nudge", as: person, body: Self.nudge)
                #expect(nudge.status == status, "\(name)")
                let ask = try await world.call("POST", "/v1/tasks/\(id)/asks", as: person, body: ["question": "?"])
                #expect(ask.status == status, "\(name)")
                let looks = try await world.get("/v1/tasks/\(id)/nudges", as: person)
                #expect(looks.status == (name == "stranger" ? 404 : 200), "\(name)")
            }
        }
    }

    @Test func `nothing reaches an agent that is being stopped`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").status == 202)
            for (path, body): (String, JSONValue) in [("nudge", Self.nudge), ("asks", ["question": "why?"])] {
                let refused = try await world.call("POST", "/v1/tasks/\(id)/\(path)", body: body)
                #expect(refused.code == "TASK_CANCELLING")
            }
        }
    }

    // MARK: - Help

    private static func send(_ count: Int, to id: TaskID, _ world: World) async throws -> [String] {
        var ids: [String] = []
        for _ in 0..<count {
            let made = try await world.call("POST", "/v1/tasks/\(id)/nudge", body: nudge)
            ids.append(try #require(made.data["nudge_id"]?.string))
        }
        return ids
    }

    private static func shown(_ id: TaskID, attempt: Int, _ world: World) async throws -> [String] {
        try await world.pool.run { try InboxStore.open(id, attempt: attempt, in: $0) }.map(\.id)
    }

    private static func task(_ id: TaskID, in tx: Connection) throws -> TaskRecord {
        guard let task = try TaskStore.load(id, in: tx) else { throw StoreError.noRow("tasks") }
        return task
    }

    private static func receive(
        _ nudge: String, of id: TaskID, isDelivered: Bool = false, turn: Int? = nil, _ world: World
    ) async throws -> InboxReceipt {
        try await world.pool.transaction { tx in
            try InboxStore.receive(nudge, of: try task(id, in: tx), isDelivered: isDelivered, turn: turn, in: tx)
        }
    }
}
