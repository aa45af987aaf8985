import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import AgentGateway

/// What an agent answers people and asks them, over its session.
@Suite struct ConversationTests {
    @Test func `a receipt of a nudge is an event once, and what was taken back is refused`() async throws {
        try await Bench.with { bench in
            let ids = try nudges(2, bench)
            try bench.connection().query("UPDATE inbox SET withdrawn_at = now() WHERE item_id = \(ids[1])")
            let shown = try await bench.harness("GET", "/session/inbox")
            #expect(shown.data["items"]?.array?.compactMap { $0["id"]?.string } == [ids[0]])
            #expect(shown.data["items"]?.array?.first?["mode"] == "steer")
            for body: JSONValue in [
                ["attempt": 1, "status": "acknowledged"], ["attempt": 1, "status": "delivered", "turn": 7],
                ["attempt": 1, "status": "delivered", "turn": 7],
            ] {
                #expect(try await bench.harness("POST", "/session/inbox/\(ids[0])/receipt", body).status == 200)
            }
            #expect(try bench.events(.nudgeAcknowledged).count == 1)
            #expect(try bench.events(.nudgeDelivered) == [["nudge_id": .string(ids[0]), "mode": "steer", "turn": 7]])
            let gone = try await bench.harness(
                "POST", "/session/inbox/\(ids[1])/receipt", ["attempt": 1, "status": "acknowledged"])
            #expect(gone.status == 409)
            #expect(gone.code == "WITHDRAWN")
            let old = try await bench.harness(
                "POST", "/session/inbox/\(ids[0])/receipt", ["attempt": 2, "status": "acknowledged"])
            #expect(old.code == "STALE_EPOCH")
        }
    }

    @Test func `an answer is kept once, without secrets, and told`() async throws {
        try await Bench.with { bench in
            let id = try ask(bench)
            let secret = "ghp_" + String(repeating: "a1B2", count: 10)
            for _ in 0..<2 {
                let answer = try await bench.harness(
                    "POST", "/session/asks/\(id)/answer",
                    ["attempt": 1, "turn": 3, "text": .string("because of \(secret)")])
                #expect(answer.data == ["state": "answered"])
            }
            let told = try bench.events(.statusResponse)
            #expect(told == [["ask_id": .string(id), "content": "because of [redacted GitHub token]", "turn": 3]])
            #expect(try await bench.harness("GET", "/session/inbox").data["items"] == [])
            for (path, body, status): (String, JSONValue, Int) in [
                (id, ["attempt": 1, "turn": 3, "text": " "], 400), (id, ["attempt": 1, "turn": 3], 400),
                ("01JZ0000000000000000000001", ["attempt": 1, "turn": 3, "text": "a"], 404),
            ] {
                #expect(try await bench.harness("POST", "/session/asks/\(path)/answer", body).status == status)
            }
            try bench.connection().query("UPDATE task_asks SET state = 'closed', answer = NULL, answered_at = NULL")
            let closed = try await bench.harness(
                "POST", "/session/asks/\(id)/answer", ["attempt": 1, "turn": 3, "text": "a"])
            #expect(closed.code == "ALREADY_CLOSED")
        }
    }

    @Test func `a question is asked once and ends as Postgres says`() async throws {
        try await Bench.with { bench in
            let body: JSONValue = [
                "attempt": 1, "client_id": "toolu_1", "question": "Which?", "options": ["a", "b"], "timeout_s": 60,
            ]
            var ids: Set<String> = []
            for _ in 0..<2 {
                let asked = try await bench.harness("POST", "/session/questions", body)
                #expect(asked.data["state"] == "open")
                #expect(asked.data["remaining_s"]?.number.map { (30...60).contains($0) } == true)
                ids.insert(asked.data["question_id"]?.string ?? "")
            }
            let id = try #require(ids.first)
            #expect(ids.count == 1)
            #expect(try bench.events(.questionAsked).count == 1)
            let connection = try bench.connection()
            try connection.transaction { tx in
                let task = try #require(try TaskStore.lock(bench.task, in: tx))
                let question = try #require(try QuestionStore.find(id, of: bench.task, in: tx))
                #expect(try QuestionStore.answer(question, "b", of: task, by: task.userID, named: "ada", in: tx))
            }
            // The agent's own deadline came at the same moment: the answer was first.
            let expired = try await bench.harness("POST", "/session/questions/\(id)/expire", ["attempt": 1])
            #expect(expired.data["state"] == "answered")
            #expect(expired.data["text"] == "b")
            let item = try await bench.harness("GET", "/session/inbox").data["items"]?.array?.first
            #expect(item?["kind"] == "answer")
            #expect(item?["question_id"]?.string == id)
            #expect(try bench.events(.questionAnswered).count == 1)
            let none = try await bench.harness("POST", "/session/questions/nothing/expire", ["attempt": 1])
            #expect(none.status == 404)
            let nameless = try await bench.harness(
                "POST", "/session/questions", ["attempt": 1, "client_id": "", "question": "?"])
            #expect(nameless.status == 400)
        }
    }

    // MARK: - Help

    private func withTask<Result>(
        _ bench: Bench, _ work: (TaskRecord, Connection) throws -> Result
    ) throws -> Result {
        try bench.connection().transaction { tx in
            try work(try #require(try TaskStore.lock(bench.task, in: tx)), tx)
        }
    }

    private func nudges(_ count: Int, _ bench: Bench) throws -> [String] {
        try (0..<count).map { _ in
            try withTask(bench) { task, tx in
                try NudgeStore.add("do", mode: .steer, to: task, by: task.userID, named: "ada", in: tx).id
            }
        }
    }

    private func ask(_ bench: Bench) throws -> String {
        try withTask(bench) { task, tx in
            let result = try AskStore.ask("why?", seconds: 60, of: task, by: task.userID, named: "ada", in: tx)
            guard case .asked(let ask) = result else { throw StoreError.noRow("task_asks") }
            return ask.id
        }
    }
}
