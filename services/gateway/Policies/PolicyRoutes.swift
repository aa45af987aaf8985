import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What agents may do in a repository: reading the rules, and trying a call against them.
struct PolicyRoutes: Sendable {
    let pool: Pool
    let policies: PolicyClient
    /// Questions of one user.
    let limiter = RateLimiter(perSecond: 0.5, burst: 30)

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/repos/{owner}/{name}/policies",
                summary: "The rules that hold in a repository: the built-in ones and its own",
                answers: [(200, .policies)], refusals: [404, 422], handle: show),
            Endpoint(
                method: "POST", pattern: "/v1/policies/validate", summary: "Read rules without storing them",
                answers: [(200, .policyFindings)], body: { _ = Self.text(&$0) }, handle: validate),
            Endpoint(
                method: "POST", pattern: "/v1/policies/test", summary: "What would become of a tool call",
                answers: [(200, .policyDecision)], refusals: [404, 422], body: { _ = Trial(&$0) }, handle: test),
        ]
    }

    /// A call to try.
    private struct Trial: Sendable {
        let repo: RepoName?
        let policies: String?
        let tool: String?
        let input: JSONValue?
        let scopes: [String]

        init(_ fields: inout FieldReader) {
            repo = fields.repo("repo", "whose rules hold; none = the built-in ones alone", isRequired: false).value
            policies = fields.text("policies", "rules instead of the repository's own", length: 0...65_536).value
            tool = fields.text("tool_name", "the tool, as Bash", isRequired: true).value
            input =
                fields.value("input", schema: ["type": "object", "description": "what the tool is called with"]) {
                    $0.object == nil || $0.text.utf8.count > 65_536
                        ? .problem("must be an object of at most 64 KB") : .value($0)
                }.value
            scopes = fields.scopes("scopes", "what people have allowed already").value ?? []
            if input == nil { fields.reject("input is missing") }
        }
    }

    private static func text(_ fields: inout FieldReader) -> String {
        fields.text("policies", "rules in Cedar", length: 0...65_536, isRequired: true).value ?? ""
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let caller = try counted(call)
        _ = try call.query { _ in }
        let repo = try pool.withConnection { try find(try call.repo(), for: caller, in: $0) }
        return Answer.later(call.request, within: PolicyClient.patience * 2, log: policies.log) { [policies] in
            let answer = try await policies.ask("/v1/effective", ["policies": .string(repo.policies)])
            let data: JSONValue = [
                "repo": .string(repo.repo), "approval_gates": JSONValue(repo.hasGates), "text": .string(repo.policies),
                "rules": answer["policies"] ?? [:],
            ]
            return Answer.data { $0.raw(data.text) }
        }
    }

    @Sendable private func validate(_ call: Call) throws -> Reply {
        _ = try counted(call)
        _ = try call.query { _ in }
        let text = try call.fields { Self.text(&$0) }
        return Answer.later(call.request, within: PolicyClient.patience * 2, log: policies.log) { [policies] in
            var answer = try await policies.ask("/v1/validate", ["policies": .string(text)]).object ?? [:]
            answer["scopes"] = nil
            let data = JSONValue.object(answer)
            return Answer.data { $0.raw(data.text) }
        }
    }

    @Sendable private func test(_ call: Call) throws -> Reply {
        let caller = try counted(call)
        _ = try call.query { _ in }
        let trial = try call.fields { Trial(&$0) }
        let repo = try trial.repo.map { name in try pool.withConnection { try find(name, for: caller, in: $0) } }
        return Answer.later(call.request, within: PolicyClient.patience * 2, log: policies.log) { [policies] in
            let question: JSONValue = [
                "policies": .string(trial.policies ?? repo?.policies ?? ""),
                "call": ["tool": JSONValue(trial.tool), "input": trial.input ?? [:]],
                "task": [
                    "repo": .string(repo?.repo ?? ""), "scopes": .array(trial.scopes.map { .string($0) }),
                    "approval_timeout_s": JSONValue(repo?.approvalTimeoutSeconds),
                ],
            ]
            // The rules judge as where gates are on; whether they are is the repository's choice, and the asker's to know.
            var answer = try await policies.ask("/v1/evaluate", question).object ?? [:]
            answer["approval_gates"] = repo.map { .bool($0.hasGates) } ?? .null
            let data = JSONValue.object(answer)
            return Answer.data { $0.raw(data.text) }
        }
    }

    private func find(_ name: RepoName, for caller: Principal, in connection: Connection) throws -> RepoRecord {
        let standing = try GrantStore.standing(of: caller.userID, to: name, in: connection)
        try caller.require(.readRepos, .repo(standing), hidden: .repoNotFound)
        guard let repo = try RepoStore.find(name, in: connection) else { throw APIError.repoNotFound }
        return repo
    }

    private func counted(_ call: Call) throws -> Principal {
        let caller = try call.principal()
        if let wait = limiter.take(caller.userID.rawValue) {
            throw APIError.limited("too many questions of yours about rules", retryAfter: wait)
        }
        return caller
    }
}

extension FieldReader {
    /// A list of scopes as texts; the policy service alone knows which there are.
    mutating func scopes(_ name: String, _ purpose: String) -> Change<[String]> {
        let schema: JSONValue = [
            "type": "array", "maxItems": 50, "items": ["type": "string", "maxLength": 600],
            "description": .string(purpose),
        ]
        return value(name, schema: schema) { value in
            let scopes = value.array?.compactMap(\.string)
            guard let scopes, scopes.count == value.array?.count, scopes.count <= 50,
                scopes.allSatisfy({ (1...600).contains($0.utf8.count) && !$0.utf8.contains(0) })
            else { return .problem("must be a list of at most 50 texts of 1 to 600 bytes") }
            return .value(scopes)
        }
    }
}
