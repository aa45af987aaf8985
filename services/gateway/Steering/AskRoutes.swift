import Domain
import HTTPServer
import HTTPTypes
import Store

/// Asking a running agent. The question is kept; whoever asked may go away and look later.
struct AskRoutes: Sendable {
    let steering: Steering

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/tasks/{task_id}/asks", summary: "Ask the running agent",
                answers: [(202, .ask)], refusals: [403, 404, 409], body: { _ = Self.wish(&$0) }, handle: ask),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/asks", summary: "What the agent was asked, oldest first",
                answers: [(200, .askPage)], refusals: [404], handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/asks/{ask_id}", summary: "A question and its answer",
                answers: [(200, .ask)], refusals: [404], handle: show),
        ]
    }

    private static func wish(_ fields: inout FieldReader) -> (question: String, seconds: Int) {
        let question = fields.text("question", "what to ask the agent", length: 1...2_048, isRequired: true)
        let seconds = fields.integer("timeout_s", "seconds that somebody waits for the answer", in: 10...600)
        return (question.value ?? "", seconds.value ?? 300)
    }

    @Sendable private func ask(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let wish = try call.fields { Self.wish(&$0) }
        let question = try steering.text(wish.question, "question", call)
        let result = try steering.withTask(call) { task, caller, tx in
            try Steering.refuseStopping(task)
            return try AskStore.ask(
                question, seconds: wish.seconds, of: task, by: caller.userID, named: caller.name, in: tx)
        }
        switch result {
        case .asked(let made): return .response(Answer.data(status: 202) { $0.ask(made) })
        case .busy(let open):
            throw APIError(
                429, "ASK_OPEN", "your question \(open.id) to this task waits for its answer; one at a time",
                headers: ["Retry-After": "5"])
        }
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        let asks = try steering.reading(call) { try AskStore.list($0, in: $1) }
        return .response(Answer.page(next: nil, hasMore: false) { writer in for ask in asks { writer.ask(ask) } })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let found = try steering.reading(call) { try AskStore.find(call.path("ask_id"), of: $0, in: $1) }
        guard let found else { throw APIError(404, "ASK_NOT_FOUND", "there is no such question to this task") }
        return .response(Answer.data { $0.ask(found) })
    }
}

extension JSONWriter {
    fileprivate mutating func ask(_ ask: AskRecord) {
        object { writer in
            writer.member("ask_id", ask.id)
            writer.member("task_id", ask.taskID.rawValue)
            writer.member("user_name", ask.userName)
            writer.member("question", ask.question)
            writer.member("state", ask.state.rawValue)
            writer.member("answer", ask.answer)
            writer.member("turn", ask.turn)
            writer.member("asked_at", ask.askedAt)
            writer.member("expires_at", ask.expiresAt)
            writer.member("answered_at", ask.answeredAt)
        }
    }
}
