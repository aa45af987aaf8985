import Domain
import HTTPServer
import HTTPTypes
import Store

/// Telling a running agent something. 202 means that it is kept; receipts say how far it has come.
struct NudgeRoutes: Sendable {
    /// Nudges that one task takes within a minute, whoever sends them.
    static let perMinute = 10

    let steering: Steering

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/tasks/{task_id}/nudge", summary: "Tell the running agent something",
                answers: [(202, .nudge)], refusals: [403, 404, 409], body: { _ = Self.wish(&$0) }, handle: nudge),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/nudges", summary: "What the agent was told, oldest first",
                answers: [(200, .nudgePage)], refusals: [404], handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/nudges/{nudge_id}", summary: "How far a nudge has come",
                answers: [(200, .nudge)], refusals: [404], handle: show),
            Endpoint(
                method: "DELETE", pattern: "/v1/tasks/{task_id}/nudges/{nudge_id}",
                summary: "Take a nudge back that no agent has yet", answers: [(200, .nudge)],
                refusals: [403, 404, 409], handle: withdraw),
        ]
    }

    private static func wish(_ fields: inout FieldReader) -> (message: String, mode: NudgeMode) {
        let message = fields.text("message", "what to tell the agent", length: 1...2_048, isRequired: true)
        let mode = fields.choice(
            "mode", "when it arrives: behind the running tool, in place of the next one, or at once",
            as: NudgeMode.self)
        return (message.value ?? "", mode.value ?? .next)
    }

    @Sendable private func nudge(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let wish = try call.fields { Self.wish(&$0) }
        let message = try steering.text(wish.message, "message", call)
        let made = try steering.withTask(call) { task, caller, tx in
            try Steering.refuseStopping(task)
            if try NudgeStore.count(of: task.id, withinSeconds: 60, in: tx) >= Self.perMinute {
                throw APIError.limited("\(Self.perMinute) nudges a minute reach one task", retryAfter: 60)
            }
            return try NudgeStore.add(
                message, mode: wish.mode, to: task, by: caller.userID, named: caller.name, in: tx)
        }
        return .response(Answer.data(status: 202) { $0.nudge(made) })
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        let nudges = try steering.reading(call) { try NudgeStore.list($0, in: $1) }
        return .response(
            Answer.page(next: nil, hasMore: false) { writer in for nudge in nudges { writer.nudge(nudge) } })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let found = try steering.reading(call) { try NudgeStore.find(call.path("nudge_id"), of: $0, in: $1) }
        guard let found else { throw Self.notFound }
        return .response(Answer.data { $0.nudge(found) })
    }

    @Sendable private func withdraw(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let left = try steering.withTask(call) { task, caller, tx in
            guard let nudge = try NudgeStore.find(call.path("nudge_id"), of: task.id, in: tx) else {
                throw Self.notFound
            }
            let isTaken = try NudgeStore.withdraw(nudge, from: task, by: caller.name, in: tx)
            guard let now = try NudgeStore.find(nudge.id, of: task.id, in: tx) else { throw Self.notFound }
            // Taking back twice is taking back.
            guard isTaken || now.state == .withdrawn else {
                throw APIError.conflict("NUDGE_TAKEN", "the agent has it already (\(now.state.rawValue))")
            }
            return now
        }
        return .response(Answer.data { $0.nudge(left) })
    }

    private static let notFound = APIError(404, "NUDGE_NOT_FOUND", "there is no such nudge of this task")
}

extension JSONWriter {
    fileprivate mutating func nudge(_ nudge: NudgeRecord) {
        object { writer in
            writer.member("nudge_id", nudge.id)
            writer.member("task_id", nudge.taskID.rawValue)
            writer.member("user_name", nudge.userName)
            writer.member("mode", nudge.mode.rawValue)
            writer.member("message", nudge.message)
            writer.member("state", nudge.state.rawValue)
            writer.member("submitted_at", nudge.submittedAt)
            writer.member("acknowledged_at", nudge.acknowledgedAt)
            writer.member("delivered_at", nudge.deliveredAt)
            writer.member("turn", nudge.turn)
        }
    }
}
