import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Answering what agents ask. The first answer counts; the deadline is the database's.
struct QuestionRoutes: Sendable {
    let steering: Steering
    /// Looks of one user at everything that waits.
    let limiter = RateLimiter(perSecond: 10.0 / 60, burst: 10)

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/pending",
                summary: "What waits for a person: approvals, then questions, the most urgent first",
                answers: [(200, .pendingPage)], query: { _ = Self.filter(&$0) }, handle: pending),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/questions/{question_id}",
                summary: "A question of the agent", answers: [(200, .question)], refusals: [404], handle: show),
            Endpoint(
                method: "POST", pattern: "/v1/tasks/{task_id}/questions/{question_id}",
                summary: "Answer a question of the agent", answers: [(200, .question)], refusals: [403, 404, 409],
                body: { _ = Self.wish(&$0) }, handle: answer),
        ]
    }

    private static func filter(_ query: inout QueryReader) -> TaskID? {
        query.value("task", ["type": "string"], "only what this task waits for", "must be a task's id") {
            TaskID(rawValue: $0)
        }
    }

    private static func wish(_ fields: inout FieldReader) -> String {
        fields.text("answer", "what the agent is told", length: 1...2_048, isRequired: true).value ?? ""
    }

    @Sendable private func pending(_ call: Call) throws -> Reply {
        let task = try call.query { Self.filter(&$0) }
        let caller = try call.principal()
        try caller.require(.listTasks)
        if let wait = limiter.take(caller.userID.rawValue) {
            throw APIError.limited("ten looks a minute at what waits are enough", retryAfter: wait)
        }
        let (approvals, questions) = try steering.pool.withConnection { connection in
            (
                try ApprovalStore.open(for: caller.viewer, of: task, in: connection),
                try QuestionStore.open(for: caller.viewer, of: task, in: connection)
            )
        }
        return .response(
            Answer.page(next: nil, hasMore: false) { writer in
                for approval in approvals { writer.pending(approval) }
                for question in questions { writer.pending(question) }
            })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let found = try steering.reading(call) { try QuestionStore.find(call.path("question_id"), of: $0, in: $1) }
        guard let found else { throw Self.notFound }
        return .response(Answer.data { $0.question(found) })
    }

    @Sendable private func answer(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let text = try steering.text(try call.fields { Self.wish(&$0) }, "answer", call)
        let left = try steering.withTask(call) { task, caller, tx in
            try Steering.refuseStopping(task)
            guard let question = try QuestionStore.find(call.path("question_id"), of: task.id, in: tx) else {
                throw Self.notFound
            }
            let isFirst = try QuestionStore.answer(
                question, text, of: task, by: caller.userID, named: caller.name, in: tx)
            guard let now = try QuestionStore.find(question.id, of: task.id, in: tx) else { throw Self.notFound }
            // The same answer once more, as after a lost connection, is no second one.
            guard isFirst || now.answer == text else {
                throw APIError.conflict(
                    "QUESTION_CLOSED",
                    now.state == .answered
                        ? "\(now.answeredBy ?? "somebody") has answered already"
                        : "the agent does not wait any more (\(now.state == .open ? "expired" : now.state.rawValue))")
            }
            if isFirst {
                try AuditStore.record(
                    "question.answer", on: task.id.rawValue, by: caller.userID,
                    ["question_id": .string(question.id)], in: tx)
            }
            return now
        }
        return .response(Answer.data { $0.question(left) })
    }

    private static let notFound = APIError(404, "QUESTION_NOT_FOUND", "there is no such question of this task")
}

extension JSONWriter {
    fileprivate mutating func question(_ question: QuestionRecord) {
        object { writer in
            writer.member("question_id", question.id)
            writer.member("task_id", question.taskID.rawValue)
            writer.member("question", question.question)
            writer.member("options", json: question.options.text)
            writer.member("state", question.state.rawValue)
            writer.member("answer", question.answer)
            writer.member("answered_by", question.answeredBy)
            writer.member("asked_at", question.askedAt)
            writer.member("expires_at", question.expiresAt)
        }
    }

    fileprivate mutating func pending(_ question: QuestionRecord) {
        object { writer in
            writer.member("kind", "question")
            writer.member("id", question.id)
            writer.member("task_id", question.taskID.rawValue)
            writer.member("repo", question.repo)
            writer.member("text", question.question)
            writer.member("options", json: question.options.text)
            writer.member("request", json: "null")
            writer.member("asked_at", question.askedAt)
            // What its task was parked on has no deadline any more.
            if question.state == .open {
                writer.member("expires_at", question.expiresAt)
            } else {
                writer.member("expires_at", json: "null")
            }
        }
    }

    fileprivate mutating func pending(_ approval: ApprovalRecord) {
        object { writer in
            writer.member("kind", "approval")
            writer.member("id", approval.id)
            writer.member("task_id", approval.taskID.rawValue)
            writer.member("repo", approval.repo)
            writer.member("text", approval.request["summary"]?.string ?? approval.request["tool_name"]?.string ?? "")
            writer.member("options", json: JSONValue.array(approval.scopes.map { .string($0) }).text)
            writer.member("request", json: approval.request.text)
            writer.member("asked_at", approval.createdAt)
            writer.member("expires_at", approval.expiresAt)
        }
    }
}
