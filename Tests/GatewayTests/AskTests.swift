import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// What people ask agents and agents ask people, as far as the gateway goes: who is first, and what silence means.
@Suite struct AskTests {
    @Test func `a person has one question open per task, and a late answer is kept`() async throws {
        try await World.with { world async throws in
            let ben = try await world.person("ben", role: .admin)
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let path = "/v1/tasks/\(id)/asks"
            let body: JSONValue = ["question": "why the lock file?", "timeout_s": 60]
            let first = try await world.call("POST", path, body: body)
            #expect(first.status == 202)
            let ask = first.data["ask_id"]?.string ?? ""
            let second = try await world.call("POST", path, body: body)
            #expect(second.status == 429)
            #expect(second.code == "ASK_OPEN")
            #expect(second.message.contains(ask))
            #expect(try await world.call("POST", path, as: ben, body: body).status == 202)
            try await world.pool.run {
                try $0.query("UPDATE task_asks SET expires_at = clock_timestamp() WHERE ask_id = \(ask)")
                return
            }
            #expect(try await world.get("\(path)/\(ask)").data["state"] == "expired")
            #expect(try await world.call("POST", path, body: body).status == 202)
            for _ in 0..<2 { #expect(try await Self.answer(ask, of: id, "it was stale", world) == .answered) }
            let answered = try await world.get("\(path)/\(ask)")
            #expect(answered.data["state"] == "answered")
            #expect(answered.data["answer"] == "it was stale")
            #expect(try await world.timeline(id).filter { $0 == "status_response" }.count == 1)
            #expect(try await world.get(path).data.array?.count == 3)
        }
    }

    @Test func `whoever asks hears of a task that ends first, and asking afterwards is refused`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let path = "/v1/tasks/\(id)/asks"
            let ask = try await world.call("POST", path, body: ["question": "how far?"]).data["ask_id"]?.string ?? ""
            try await world.pool.transaction { tx in
                guard let task = try TaskStore.lock(id, in: tx) else { return }
                try TaskStore.move(task, on: .cancelled, in: tx)
            }
            #expect(try await world.get("\(path)/\(ask)").data["state"] == "closed")
            #expect(try await world.call("POST", path, body: ["question": "and now?"]).status == 409)
            #expect(try await Self.answer(ask, of: id, "late", world) == .closed)
        }
    }

    // MARK: - Questions of the agent

    @Test func `the first answer to an agent's question counts, and silence is told as silence`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben", role: .admin))
            let id = try await world.submit(as: ada)
            try await world.bring(id, to: .running)
            let (one, two) = (
                try await Self.question("one", of: id, world), try await Self.question("two", of: id, world)
            )
            #expect(try await Self.question("one", of: id, world) == one)
            #expect(try await world.timeline(id).filter { $0 == "question_asked" }.count == 2)
            let pending = try await world.get("/v1/pending", as: ada)
            #expect(pending.data.array?.compactMap { $0["id"]?.string } == [one, two])
            #expect(pending.data.array?.first?["options"] == ["yes", "no"])

            let path = "/v1/tasks/\(id)/questions/\(one)"
            #expect(try await world.call("POST", path, as: ada, body: ["answer": "yes"]).data["state"] == "answered")
            #expect(try await world.call("POST", path, as: ben, body: ["answer": "yes"]).status == 200)
            let other = try await world.call("POST", path, as: ben, body: ["answer": "no"])
            #expect(other.code == "QUESTION_CLOSED")
            #expect(other.message.contains("ada"))
            let told = try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }
            #expect(told.map(\.kind) == ["answer"])
            #expect(told.first?.payload["text"] == "yes")
            #expect(try await world.pool.run { try InboxStore.open(id, attempt: 2, in: $0) }.isEmpty)

            let expired = try await Self.expire(two, of: id, world)
            #expect(expired == .expired)
            #expect(try await Self.expire(one, of: id, world) == .answered)
            let late = try await world.call(
                "POST", "/v1/tasks/\(id)/questions/\(two)", as: ada, body: ["answer": "yes"])
            #expect(late.status == 409)
            #expect(try await world.get("/v1/pending", as: ada).data == [])
        }
    }

    @Test func `a lost attempt takes its questions with it`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let question = try await Self.question("one", of: id, world)
            try await world.pool.transaction { tx in
                guard let task = try TaskStore.lock(id, in: tx) else { return }
                let failure = TaskFailure(
                    code: "lease_lost", category: .compute, title: "", description: "", remedy: "", retryable: true)
                try TaskStore.loseAttempt(task, failure, in: tx)
            }
            let path = "/v1/tasks/\(id)/questions/\(question)"
            #expect(try await world.get(path).data["state"] == "void")
            #expect(try await world.call("POST", path, body: ["answer": "yes"]).code == "QUESTION_CLOSED")
            #expect(try await world.get("/v1/pending").data == [])
        }
    }

    // MARK: - Help

    private static func task(_ id: TaskID, in tx: Connection) throws -> TaskRecord {
        guard let task = try TaskStore.load(id, in: tx) else { throw StoreError.noRow("tasks") }
        return task
    }

    private static func answer(_ ask: String, of id: TaskID, _ text: String, _ world: World) async throws -> AskState? {
        try await world.pool.transaction { tx in
            try AskStore.answer(ask, of: try task(id, in: tx), text, turn: 3, in: tx)
        }
    }

    private static func question(_ name: String, of id: TaskID, _ world: World) async throws -> String {
        try await world.pool.transaction { tx in
            try QuestionStore.ask(
                "shall I?", options: ["yes", "no"], clientID: name, seconds: 600, of: try task(id, in: tx), in: tx)
        }.id
    }

    private static func expire(_ question: String, of id: TaskID, _ world: World) async throws -> QuestionState? {
        try await world.pool.transaction { tx in
            try QuestionStore.expire(question, of: try task(id, in: tx), in: tx)?.state
        }
    }
}
