import Domain
import HTTPTypes

/// The verbs that decide what agents want to do.
package enum ApprovalCommands {
    @Sendable package static func approve(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        try await decide(invocation, surroundings, "approve")
    }

    @Sendable package static func deny(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        try await decide(invocation, surroundings, "deny")
    }

    private static func decide(
        _ invocation: Invocation, _ surroundings: Surroundings, _ decision: String
    ) async throws -> ExitCode {
        let word = try invocation.required("TASK|REQUEST")
        let client = try surroundings.client(for: invocation)
        let (task, request) = try await request(word, client)
        var body: [String: JSONValue] = ["decision": .string(decision)]
        for name in ["scope", "reason"] {
            if let text = invocation.text(name) { body[name] = .string(text) }
        }
        let decided = try await client.call(
            "POST", "/tasks/\(Percent.encode(task))/approvals/\(Percent.encode(request))", body: .object(body),
            headers: TaskCommands.screening(invocation)
        ).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(decided.encoded(pretty: true))
        } else {
            let what = summary(decided.member("request") ?? .null)
            let scope = decided.text("scope").map { $0 == "this_call" ? "" : ", and from now on \($0)" } ?? ""
            console.print(
                decision == "approve"
                    ? "Approved: \(what)\(Text.visible(scope))" : "Denied: \(what); the agent is told.")
        }
        return .success
    }

    /// The request that a word means: its own id, whatever became of it, or that of the task when one is open there.
    private static func request(
        _ word: String, _ client: APIClient
    ) async throws -> (task: String, request: String) {
        // Also one that does not wait any more: the gateway then says who was first, or that the same was decided already.
        if let known = try await found("/approvals/\(Percent.encode(word))", client), let task = known.text("task_id") {
            return (task, word)
        }
        let all = try await found("/tasks/\(Percent.encode(word))/approvals", client)?.array ?? []
        let open = all.filter { $0.text("state") == "PENDING" }
        guard let only = open.first, let task = only.text("task_id"), let id = only.text("request_id") else {
            throw UserError(
                "nothing of \(Text.visible(word)) waits for a decision", "bgagent pending shows what does.")
        }
        guard open.count == 1 else {
            let ids = open.compactMap { $0.text("request_id") }.map(Text.visible)
            throw UserError("\(open.count) things of this task wait", "Name one: \(ids.joined(separator: ", "))")
        }
        return (task, id)
    }

    /// What a path holds; nil when there is nothing.
    private static func found(_ path: String, _ client: APIClient) async throws -> JSONValue? {
        do {
            return try await client.call("GET", path).data
        } catch let error as APIError where error.status == 404 {
            return nil
        }
    }

    /// What it is about, in one line.
    private static func summary(_ request: JSONValue) -> String {
        Text.visible(request.text("summary") ?? request.text("tool_name") ?? "the request")
    }

    /// A waiting approval, whole: whoever decides has to see what they decide on.
    static func lines(_ item: JSONValue) -> [String] {
        let request = item.member("request") ?? .null
        let id = Text.visible(item.text("id") ?? "")
        var lines = [
            "\(Text.visible(item.text("task_id") ?? ""))  \(Text.visible(item.text("repo") ?? ""))  wants: "
                + summary(request),
            "  \(Text.visible(request.text("tool_name") ?? ""))  \(Text.visible(request.text("severity") ?? ""))"
                + "  \((request.member("rule_ids")?.array ?? []).compactMap(\.string).map(Text.visible).joined(separator: ", "))",
        ]
        for (name, value) in (request.member("input")?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            lines.append("    \(Text.visible(name)): \(Text.visible(value.plain))")
        }
        if request.member("truncated")?.bool == true { lines.append("    (shortened: look at it in the task's log)") }
        let scopes = (item.member("options")?.array ?? []).compactMap(\.string).map(Text.visible)
        if !scopes.isEmpty { lines.append("  --scope may be: \(scopes.joined(separator: "  "))") }
        lines.append("  until \(Text.visible(item.text("expires_at") ?? "")): bgagent approve \(id) or deny \(id)")
        return lines
    }
}
