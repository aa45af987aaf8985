import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// An agent asks for leave to do one thing, and obeys what stands in Postgres at its deadline. Each call may be repeated.
struct ApprovalRoutes: Sendable {
    private static let longestRequest = 16_384
    private static let members = [
        "tool_name", "input", "input_sha256", "truncated", "rule_ids", "severity", "summary", "scopes",
    ]

    let pool: Pool
    let access: SessionAccess
    let intake: EventIntake

    func add(to router: inout Router) {
        router.on("POST", "/session/approvals") { try open($0) }
        router.on("POST", "/session/approvals/{id}/expire") { try expire($0) }
    }

    private func open(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let clientID = try body.text("client_id")
        guard (1...200).contains(clientID.utf8.count) else {
            throw Refusal.invalid("client_id: must have 1 to 200 bytes")
        }
        _ = try body.text("tool_name")
        let hash = try body.text("input_sha256")
        guard hash.utf8.count == 64, hash.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else {
            throw Refusal.invalid("input_sha256: must be a SHA-256 in hex")
        }
        let given = body.value.object ?? [:]
        let kept = given.filter { Self.members.contains($0.key) }
        let wanted = intake.redacted(.object(kept))
        guard wanted.text.utf8.count <= Self.longestRequest else {
            throw Refusal.invalid("input: must be at most 4 KB; shorten its texts and say truncated")
        }
        let asked = body.value["timeout_s"]?.integer.map { Int(min(max($0, 30), 3_600)) } ?? 300
        let (record, most) = try access.withTask(of: request, body, pool) { task, tx in
            let record = try ApprovalStore.open(
                wanted, clientID: clientID, seconds: min(asked, max(30, task.remainingSeconds - 120)), of: task, in: tx)
            return (record, ApprovalStore.most(of: task))
        }
        guard let record else {
            throw Refusal(
                status: 409, code: "GATE_LIMIT",
                message: "This task has asked too often: at most \(most) times, and "
                    + "\(ApprovalStore.mostPerMinute) a minute.")
        }
        return Answers.data(Self.told(record))
    }

    private func expire(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let id = request.pathParameters["id"] ?? ""
        let record = try access.withTask(of: request, body, pool) { task, tx in
            try ApprovalStore.expire(id, of: task, in: tx)
        }
        guard let record else {
            throw Refusal(status: 404, code: "NOT_FOUND", message: "There is no such request.")
        }
        return Answers.data(Self.told(record))
    }

    private static func told(_ record: ApprovalRecord) -> JSONValue {
        var told: [String: JSONValue] = [
            "request_id": .string(record.id), "state": .string(record.state.rawValue.lowercased()),
            "remaining_s": .number(record.remainingSeconds),
        ]
        if let scope = record.scope { told["scope"] = .string(scope) }
        if let reason = record.reason { told["reason"] = .string(reason) }
        return .object(told)
    }
}
