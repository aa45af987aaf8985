import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Deciding what agents want to do. The first decision counts; the same one again is no second one.
struct ApprovalRoutes: Sendable {
    let steering: Steering
    /// Decisions of one user.
    let limiter = RateLimiter(perSecond: 0.5, burst: 30)

    private enum Decision: String, Sendable, CaseIterable {
        case approve, deny
    }

    private struct Wish {
        /// In the body of the short routes; nil = the one that is open.
        var request: String?
        var decision: Decision?
        var scope: String?
        var reason: String?
    }

    var endpoints: [Endpoint] {
        let path = "/v1/tasks/{task_id}/approvals/{request_id}"
        return [
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/approvals",
                summary: "What the agent wanted to do, oldest first", answers: [(200, .approvalPage)], refusals: [404],
                handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/approvals/{request_id}",
                summary: "One thing that an agent wants to do, whichever task's", answers: [(200, .approval)],
                refusals: [404], handle: lookUp),
            Endpoint(
                method: "GET", pattern: path, summary: "One thing that the agent wants to do",
                answers: [(200, .approval)], refusals: [404], handle: show),
            Endpoint(
                method: "POST", pattern: path, summary: "Allow or refuse it", answers: [(200, .approval)],
                refusals: [403, 404, 409], body: { _ = Self.wish(&$0, hasDecision: true) },
                handle: { call in try decide(call) { Self.wish(&$0, hasDecision: true) } }),
            Endpoint(
                method: "POST", pattern: path + "/approve", summary: "Allow it", answers: [(200, .approval)],
                refusals: [403, 404, 409], body: { _ = Self.wish(&$0, hasDecision: false) },
                handle: { call in try decide(call) { Self.wish(&$0, hasDecision: false, .approve) } }),
            Endpoint(
                method: "POST", pattern: path + "/deny", summary: "Refuse it", answers: [(200, .approval)],
                refusals: [403, 404, 409], body: { _ = Self.wish(&$0, hasDecision: false) },
                handle: { call in try decide(call) { Self.wish(&$0, hasDecision: false, .deny) } }),
            short(.approve, "Allow what the agent wants to do"), short(.deny, "Refuse what the agent wants to do"),
        ]
    }

    /// The same for a request that the body names, or that is the only one open.
    private func short(_ decision: Decision, _ summary: String) -> Endpoint {
        let read: @Sendable (inout FieldReader) -> Wish = { fields in
            let request = fields.text("request_id", "which; the one that is open unless it is given").value
            var wish = Self.wish(&fields, hasDecision: false, decision)
            wish.request = request
            return wish
        }
        return Endpoint(
            method: "POST", pattern: "/v1/tasks/{task_id}/\(decision.rawValue)", summary: summary,
            answers: [(200, .approval)], refusals: [403, 404, 409], body: { _ = read(&$0) },
            handle: { call in try decide(call, read) })
    }

    private static func wish(_ fields: inout FieldReader, hasDecision: Bool, _ decision: Decision? = nil) -> Wish {
        var wish = Wish(decision: decision)
        if hasDecision {
            wish.decision = fields.choice("decision", "approve or deny", isRequired: true, as: Decision.self).value
        }
        wish.scope = fields.text("scope", "what is allowed from now on; one that the request offers").value
        wish.reason = fields.text("reason", "what the agent is told", length: 1...2_000).value
        return wish
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        let approvals = try steering.reading(call) { try ApprovalStore.list($0, in: $1) }
        return .response(
            Answer.page(next: nil, hasMore: false) { writer in
                for approval in approvals { writer.approval(approval) }
            })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let found = try steering.reading(call) { try ApprovalStore.find(call.path("request_id"), of: $0, in: $1) }
        guard let found else { throw Self.notFound }
        return .response(Answer.data { $0.approval(found) })
    }

    @Sendable private func lookUp(_ call: Call) throws -> Reply {
        let id = call.path("request_id")
        let find = { (connection: Connection) in try ApprovalStore.task(of: id, in: connection) }
        let found = try steering.reading(call, taskOf: find, orElse: Self.notFound) {
            try ApprovalStore.find(id, of: $0, in: $1)
        }
        guard let found else { throw Self.notFound }
        return .response(Answer.data { $0.approval(found) })
    }

    private func decide(_ call: Call, _ read: (inout FieldReader) -> Wish) throws -> Reply {
        _ = try call.query { _ in }
        let wish = try call.fields(read)
        let allows = wish.decision == .approve
        if !allows, wish.scope != nil { throw APIError.invalid("scope belongs to an approval") }
        let reason = try wish.reason.map { try steering.text($0, "reason", most: nil, call) }
        let caller = try call.principal()
        if let wait = limiter.take(caller.userID.rawValue) {
            throw APIError.limited("too many decisions of yours", retryAfter: wait)
        }
        let left = try steering.withTask(call) { task, caller, tx in
            try Steering.refuseStopping(task)
            let named = call.request.pathParameters["request_id"] ?? wish.request
            let id = try named ?? Self.onlyOpen(of: task.id, in: tx)
            guard let approval = try ApprovalStore.find(id, of: task.id, in: tx) else { throw Self.notFound }
            if let scope = wish.scope, scope != ApprovalStore.thisCall, !approval.scopes.contains(scope) {
                let others = approval.scopes.filter { $0 != ApprovalStore.thisCall }
                let offered = ([ApprovalStore.thisCall] + others).joined(separator: ", ")
                throw APIError.invalid("scope must be one that the request offers: \(offered)")
            }
            try ApprovalRules(task).require(allows: allows, by: caller)
            let isFirst = try ApprovalStore.decide(
                approval, allows: allows, scope: wish.scope, reason: reason, of: task, by: caller.userID,
                named: caller.name, in: tx)
            guard let now = try ApprovalStore.find(approval.id, of: task.id, in: tx) else { throw Self.notFound }
            guard isFirst || now.state == (allows ? .approved : .denied) else { throw Self.tooLate(now) }
            if isFirst {
                try AuditStore.record(
                    allows ? "approval.approve" : "approval.deny", on: task.id.rawValue, by: caller.userID,
                    ["request_id": .string(approval.id), "scope": now.scope.map { .string($0) } ?? .null], in: tx)
            }
            return now
        }
        return .response(Answer.data { $0.approval(left) })
    }

    private static func onlyOpen(of task: TaskID, in tx: Connection) throws -> String {
        let open = try ApprovalStore.list(task, in: tx).filter { $0.state == .pending }
        guard let only = open.first else {
            throw APIError.conflict("NOTHING_PENDING", "nothing of this task waits for a decision")
        }
        guard open.count == 1 else {
            let ids = open.map(\.id).joined(separator: ", ")
            throw APIError.conflict("REQUEST_AMBIGUOUS", "\(open.count) requests wait; name one as request_id: \(ids)")
        }
        return only.id
    }

    private static func tooLate(_ approval: ApprovalRecord) -> APIError {
        switch approval.state {
        case .pending, .timedOut:
            .conflict("REQUEST_EXPIRED", "nobody decided in time; the agent was told no")
        case .void:
            .conflict("REQUEST_VOID", "the agent that asked is gone")
        case .approved, .denied:
            .conflict(
                "REQUEST_ALREADY_DECIDED",
                "\(approval.decidedBy ?? "somebody") has decided already (\(approval.state.rawValue))")
        }
    }

    private static let notFound = APIError(404, "REQUEST_NOT_FOUND", "there is no such request")
}

extension JSONWriter {
    fileprivate mutating func approval(_ approval: ApprovalRecord) {
        object { writer in
            writer.member("request_id", approval.id)
            writer.member("task_id", approval.taskID.rawValue)
            writer.member("repo", approval.repo)
            writer.member("attempt", approval.attempt)
            writer.member("state", approval.state.rawValue)
            writer.member("request", json: approval.request.text)
            writer.member("scope", approval.scope)
            writer.member("reason", approval.reason)
            writer.member("decided_by", approval.decidedBy)
            writer.member("created_at", approval.createdAt)
            writer.member("expires_at", approval.expiresAt)
            writer.member("decided_at", approval.decidedAt)
        }
    }
}
