import Domain
import Postgres
import Store
import Testing

@testable import Gateway

/// Tasks that wait for an answer without an agent.
@Suite struct ParkingTests {
    private static func task(_ id: TaskID, in tx: Connection) throws -> TaskRecord {
        guard let task = try TaskStore.load(id, in: tx) else { throw StoreError.noRow("tasks") }
        return task
    }

    /// A task at work whose question nobody has answered in time.
    private static func unanswered(_ setting: String, _ world: World) async throws -> (TaskID, String) {
        let set = try await world.call("PATCH", "/v1/repos/acme/shop", body: ["unanswered_question": .string(setting)])
        #expect(set.status == 200, "\(set.message)")
        let id = try await world.submit()
        try await world.bring(id, to: .running)
        let question = try await world.pool.transaction { tx in
            let task = try task(id, in: tx)
            let asked = try QuestionStore.ask(
                "Which of the two?", options: [], clientID: "1", seconds: 600, of: task, in: tx)
            _ = try QuestionStore.expire(asked.id, of: task, in: tx)
            return asked.id
        }
        return (id, question)
    }

    private static func park(_ id: TaskID, on question: String?, _ world: World) async throws {
        try await world.pool.transaction { tx in
            try ParkingStore.park(try task(id, in: tx), onQuestion: question, limitSeconds: 600, in: tx)
        }
    }

    private static func timers(_ world: World) async throws -> [String] {
        try await world.pool.run { connection in
            try connection.query("SELECT kind FROM timers").map { try $0.get("kind", as: String.self) }
        }
    }

    private static func answer(
        _ text: String, _ question: String, of id: TaskID, _ world: World
    ) async throws -> World.Answer {
        try await world.call("POST", "/v1/tasks/\(id)/questions/\(question)", body: ["answer": .string(text)])
    }

    @Test func `an answer wakes the task that was parked on its question, and reaches the next attempt`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            try await Self.park(id, on: question, world)
            let status = try await world.get("/v1/tasks/\(id)/status").data
            #expect(status["status"] == "PARKED")
            #expect(status["waiting_for"]?["detail"] == "an answer: Which of the two?")
            let pending = try await world.get("/v1/pending").data.array ?? []
            #expect(pending.compactMap { $0["id"]?.string } == [question])
            #expect(pending.first?["expires_at"] == .null)
            #expect(try await Self.timers(world) == ["parked"])

            #expect(try await Self.answer("the first", question, of: id, world).data["state"] == "answered")
            let woken = try await world.pool.run { try Self.task(id, in: $0) }
            #expect(woken.status == .queued)
            #expect(woken.attempt == 2)
            // It may still lose as many attempts as before.
            #expect(woken.maxAttempts == 3)
            #expect(try await Self.timers(world).isEmpty)
            let told = try await world.pool.run { try InboxStore.open(id, attempt: 2, in: $0) }
            #expect(told.map(\.kind) == ["nudge"])
            let text = "You asked: Which of the two?\n\nThe answer: the first"
            #expect(told.first?.payload["text"] == .string(text))
            #expect(try await world.get("/v1/pending").data == [])
            let timeline = try await world.timeline(id).suffix(5)
            #expect(
                Array(timeline) == [
                    "question_answered", "task_parked", "question_answered", "nudge_accepted", "task_resumed",
                ])
            #expect(try await Self.answer("the other", question, of: id, world).code == "QUESTION_CLOSED")
        }
    }

    @Test func `an answer between the deadline and the parking is not lost`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            #expect(try await Self.answer("the first", question, of: id, world).status == 200)
            try await Self.park(id, on: question, world)
            #expect(try await world.pool.run { try Self.task(id, in: $0) }.status == .queued)
            #expect(try await world.pool.run { try InboxStore.open(id, attempt: 2, in: $0) }.count == 1)
            #expect(try await Self.timers(world).isEmpty)
        }
    }

    @Test
    func `where tasks wait, an answer past the deadline is in time until the agent has said that it stops waiting`()
        async throws
    {
        try await World.with { world async throws in
            let set = try await world.call("PATCH", "/v1/repos/acme/shop", body: ["unanswered_question": "park"])
            #expect(set.status == 200)
            let id = try await world.submit()
            try await world.bring(id, to: .running)
            let question = try await world.pool.transaction { tx in
                try QuestionStore.ask(
                    "Which?", options: [], clientID: "1", seconds: 600, of: try Self.task(id, in: tx), in: tx)
            }.id
            try await world.pool.run {
                try $0.query("UPDATE task_questions SET expires_at = clock_timestamp() - interval '1 minute'")
                return
            }
            #expect(try await world.get("/v1/pending").data.array?.count == 1)
            #expect(try await Self.answer("up", question, of: id, world).status == 200)
            let told = try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }
            #expect(told.map(\.kind) == ["answer"])
            let state = try await world.pool.transaction { tx in
                try QuestionStore.expire(question, of: try Self.task(id, in: tx), in: tx)
            }
            #expect(state?.state == .answered)
            #expect(state?.isLate == false)
        }
    }

    @Test func `a question that expired is found until its task is parked, and no agent is told a late answer twice`()
        async throws
    {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            let pending = try await world.get("/v1/pending").data.array ?? []
            #expect(pending.compactMap { $0["id"]?.string } == [question])
            #expect(try await Self.answer("up", question, of: id, world).status == 200)
            // The agent asks again, because the first answer to its `expire` was lost.
            let again = try await world.pool.transaction { tx in
                try QuestionStore.expire(question, of: try Self.task(id, in: tx), in: tx)
            }
            #expect(again?.isLate == true)
            #expect(try await world.get("/v1/pending").data == [])
        }
    }

    @Test func `at the end of a task no late answer is taken`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            try await world.pool.transaction { tx in
                try TaskStore.move(try Self.task(id, in: tx), on: .resultReceived, in: tx)
            }
            #expect(try await Self.answer("up", question, of: id, world).code == "QUESTION_CLOSED")
            #expect(try await world.pool.run { try InboxStore.open(id, attempt: 1, in: $0) }.isEmpty)
        }
    }

    @Test func `a long question leaves room for the whole answer`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            try await world.pool.run {
                try $0.query("UPDATE task_questions SET question = repeat('w', 2000)")
                return
            }
            try await Self.park(id, on: question, world)
            let given = String(repeating: "a", count: 2_000)
            #expect(try await Self.answer(given, question, of: id, world).status == 200)
            let told = try await world.pool.run { try InboxStore.open(id, attempt: 2, in: $0) }
            let text = try #require(told.first?.payload["text"]?.string)
            #expect(text.hasSuffix(given))
            #expect(text.utf8.count <= 2_048)
        }
    }

    @Test func `a repository that does not park takes no late answer`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("continue", world)
            #expect(try await Self.answer("the first", question, of: id, world).code == "QUESTION_CLOSED")
        }
    }

    @Test func `a parked task is cancelled at once, and then takes no answer`() async throws {
        try await World.with { world async throws in
            let (id, question) = try await Self.unanswered("park", world)
            try await Self.park(id, on: question, world)
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").data["status"] == "CANCELLED")
            #expect(try await Self.answer("the first", question, of: id, world).code == "TASK_ALREADY_TERMINAL")
        }
    }

    @Test func `what is parked on nothing known waits for its limit`() async throws {
        try await World.with { world async throws in
            let (id, _) = try await Self.unanswered("park", world)
            try await Self.park(id, on: "01ARZ3NDEKTSV4RRFFQ69G5FAV", world)
            #expect(try await world.pool.run { try Self.task(id, in: $0) }.status == .parked)
            #expect(try await Self.timers(world) == ["parked"])
        }
    }
}
