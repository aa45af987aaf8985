import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What an agent answers people and asks them. Each call may be repeated: it is done once.
struct ConversationRoutes: Sendable {
    private static let longestQuestion = 2_000
    private static let longestAnswer = 4_000
    private static let mostOptions = 10

    /// How long a question waits, unless the agent says otherwise.
    let patience: Duration
    let pool: Pool
    let access: SessionAccess
    let intake: EventIntake

    func add(to router: inout Router) {
        router.on("POST", "/session/asks/{id}/answer") { try answer($0) }
        router.on("POST", "/session/questions") { try ask($0) }
        router.on("POST", "/session/questions/{id}/expire") { try expire($0) }
    }

    private func answer(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let text = try clean(body, "text", most: Self.longestAnswer)
        let turn = Int(min(max(try body.integer("turn"), 0), 1_000_000))
        let id = request.pathParameters["id"] ?? ""
        let state = try access.withTask(of: request, body, pool) { task, tx in
            try AskStore.answer(id, of: task, text, turn: turn, in: tx)
        }
        switch state {
        case .answered: return Answers.data(["state": "answered"])
        case .open, .expired, .closed:
            throw Refusal(status: 409, code: "ALREADY_CLOSED", message: "Nobody waits for this answer any more.")
        case nil: throw Refusal(status: 404, code: "NOT_FOUND", message: "There is no such question.")
        }
    }

    private func ask(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let question = try clean(body, "question", most: Self.longestQuestion)
        let clientID = try body.text("client_id")
        guard (1...200).contains(clientID.utf8.count) else {
            throw Refusal.invalid("client_id: must have 1 to 200 bytes")
        }
        let options = (body.value["options"]?.array ?? []).compactMap(\.string).prefix(Self.mostOptions)
        let seconds =
            body.value["timeout_s"]?.integer.map { Int(min(max($0, 30), 86_400)) } ?? Int(patience.components.seconds)
        let record = try access.withTask(of: request, body, pool) { task, tx in
            try QuestionStore.ask(
                question, options: options.map { intake.redacted(.string(String($0.prefix(200)))).string ?? "" },
                clientID: clientID,
                seconds: min(seconds, max(30, task.remainingSeconds - 120)), of: task, in: tx)
        }
        return Answers.data(Self.told(record))
    }

    private func expire(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let id = request.pathParameters["id"] ?? ""
        let record = try access.withTask(of: request, body, pool) { task, tx in
            try QuestionStore.expire(id, of: task, in: tx)
        }
        guard let record else {
            throw Refusal(status: 404, code: "NOT_FOUND", message: "There is no such question.")
        }
        return Answers.data(Self.told(record))
    }

    private static func told(_ record: QuestionRecord) -> JSONValue {
        // What came late comes as a nudge, and would otherwise be told twice.
        let state = record.isLate ? .expired : record.state
        var told: [String: JSONValue] = [
            "question_id": .string(record.id), "state": .string(state.rawValue),
            "deadline": .string(record.expiresAt.iso8601), "remaining_s": .number(record.remainingSeconds),
        ]
        if record.isLate { return .object(told) }
        if let answer = record.answer { told["text"] = .string(answer) }
        if let name = record.answeredBy { told["from"] = .string(name) }
        return .object(told)
    }

    private func clean(_ body: Fields, _ name: String, most: Int) throws -> String {
        let text = intake.redacted(.string(try body.text(name))).string ?? ""
        guard !text.allSatisfy(\.isWhitespace) else { throw Refusal.invalid("\(name): must not be empty") }
        return String(text.prefix(most))
    }
}
