import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Repositories: everybody sees them, administrators change them, without any restart.
struct RepoRoutes: Sendable {
    let pool: Pool
    let policies: PolicyClient

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/repos", summary: "Onboard a repository", answers: [(201, .repo)],
                refusals: [403, 409, 422], body: { _ = Self.body(&$0) }, handle: create),
            Endpoint(
                method: "GET", pattern: "/v1/repos", summary: "List repositories", answers: [(200, .repoPage)],
                query: { _ = Paging(&$0) }, handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/repos/{owner}/{name}", summary: "A repository's settings",
                answers: [(200, .repo)], refusals: [404], handle: show),
            Endpoint(
                method: "PATCH", pattern: "/v1/repos/{owner}/{name}",
                summary: "Change settings, from the next task on; null takes the platform's value",
                answers: [(200, .repo)], refusals: [403, 404, 422], body: { _ = RepoFields.read(&$0) },
                handle: update),
            Endpoint(
                method: "DELETE", pattern: "/v1/repos/{owner}/{name}", summary: "Take a repository off",
                answers: [(200, .repo)], refusals: [403, 404], handle: remove),
        ]
    }

    private static func body(_ fields: inout FieldReader) -> (repo: RepoName?, change: RepoChange) {
        (fields.repo("repo", "OWNER/NAME").value, RepoFields.read(&fields))
    }

    @Sendable private func create(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.changeRepos)
        _ = try call.query { _ in }
        let body = try call.fields { Self.body(&$0) }
        guard let name = body.repo else { throw APIError.invalid("repo is missing") }
        return try checked(body.change, call) { tx in
            guard let repo = try RepoStore.create(name, body.change.values, in: tx) else {
                throw APIError.conflict("REPO_ALREADY_EXISTS", "\(name) is onboarded already; PATCH changes it")
            }
            let detail = Self.detail(body.change)
            try AuditStore.record("repo.create", on: repo.repo, by: caller.userID, detail, in: tx)
            return Answer.data(status: 201) { $0.repo(repo) }
        }
    }

    @Sendable private func update(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.changeRepos)
        _ = try call.query { _ in }
        let name = try call.repo()
        let change = try call.fields(isPatch: true) { RepoFields.read(&$0) }
        return try checked(change, call) { tx in
            guard let repo = try RepoStore.update(name, change.values, in: tx) else { throw APIError.repoNotFound }
            try AuditStore.record("repo.update", on: repo.repo, by: caller.userID, Self.detail(change), in: tx)
            return Answer.data { $0.repo(repo) }
        }
    }

    /// Writes what a body changes, once its rules have been read and its approvers are known.
    private func checked(
        _ change: RepoChange, _ call: Call, _ write: @escaping @Sendable (Connection) throws -> Response
    ) throws -> Reply {
        let all: @Sendable (Connection) throws -> Response = { tx in
            let unknown = try UserStore.unknown(of: change.approvers, in: tx)
            guard unknown.isEmpty else {
                throw APIError(
                    422, "USER_NOT_FOUND",
                    "there is no user \(unknown.map { FieldReader.quoted($0) }.joined(separator: ", "))")
            }
            return try write(tx)
        }
        guard let text = change.policies, !text.isEmpty else {
            return .response(try pool.withTransaction { try all($0) })
        }
        return Answer.later(call.request, within: PolicyClient.patience * 2, log: policies.log) { [pool, policies] in
            try await policies.check(text)
            return try await pool.transaction(.readCommitted, all)
        }
    }

    @Sendable private func remove(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.changeRepos)
        _ = try call.query { _ in }
        let name = try call.repo()
        let repo = try pool.withTransaction { tx in
            let off = [ColumnValue("deleted_at", "clock_timestamp()")]
            guard let repo = try RepoStore.update(name, off, in: tx) else { throw APIError.repoNotFound }
            try AuditStore.record("repo.delete", on: repo.repo, by: caller.userID, in: tx)
            return repo
        }
        return .response(Answer.data { $0.repo(repo) })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        _ = try call.query { _ in }
        let name = try call.repo()
        let repo = try pool.withConnection { connection in
            let standing = try GrantStore.standing(of: caller.userID, to: name, in: connection)
            try caller.require(.readRepos, .repo(standing), hidden: .repoNotFound)
            guard let repo = try RepoStore.find(name, in: connection) else { throw APIError.repoNotFound }
            return repo
        }
        return .response(Answer.data { $0.repo(repo) })
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.listRepos)
        let paging = try call.query { Paging(&$0) }
        let repos = try pool.withConnection {
            try RepoStore.list(for: caller.viewer, after: paging.after, limit: paging.limit + 1, in: $0)
        }
        return .response(paging.answer(repos, key: \.repo) { $0.repo($1) })
    }

    /// Names of what was set; values may be private.
    private static func detail(_ change: RepoChange) -> JSONValue {
        ["fields": .array(change.values.map { .string($0.column) })]
    }
}

/// A list by name, in pages.
struct Paging: Sendable {
    let after: String?
    let limit: Int

    init(_ query: inout QueryReader) {
        after = query.cursor("where the page before ended") { $0.keys.count == 1 ? $0.keys[0] : nil }
        limit = query.integer("limit", default: 100, in: 1...100, "entries of a page")
    }

    /// - Parameter entries: one more than the page holds, when there are more.
    func answer<Entry>(
        _ entries: [Entry], key: (Entry) -> String, _ write: (inout JSONWriter, Entry) -> Void
    ) -> Response {
        let page = entries.prefix(limit)
        let hasMore = entries.count > limit
        let next = hasMore ? page.last.map { PageToken(keys: [key($0)]).text } : nil
        return Answer.page(next: next, hasMore: hasMore) { writer in
            for entry in page { write(&writer, entry) }
        }
    }
}

extension JSONWriter {
    mutating func repo(_ repo: RepoRecord) {
        object { writer in
            writer.member("repo", repo.repo)
            writer.member("forge", repo.forge)
            writer.member("default_branch", repo.defaultBranch)
            writer.member("model", repo.model)
            writer.member("max_turns", repo.maxTurns)
            writer.member("max_budget_usd", repo.maxBudget)
            writer.member("max_duration_s", repo.maxDurationSeconds)
            writer.member("max_concurrent", repo.maxConcurrent)
            writer.member("setup_command", repo.setupCommand)
            writer.member("build_command", repo.buildCommand)
            writer.member("test_command", repo.testCommand)
            writer.member("lint_command", repo.lintCommand)
            writer.member("system_prompt_overrides", repo.systemPromptOverrides)
            writer.member("credential_ref", repo.credentialRef)
            writer.member("allow_ci_changes", repo.allowsCIChanges)
            writer.member("allow_secrets", repo.allowsSecrets)
            writer.member("approval_gates", repo.hasGates)
            writer.member("policies", repo.policies)
            writer.name("approvers")
            writer.array { list in
                for name in repo.approvers { list.string(name) }
            }
            writer.member("second_person", repo.needsSecondPerson)
            writer.member("approval_gate_cap", repo.gateCap)
            writer.member("approval_timeout_s", repo.approvalTimeoutSeconds)
            writer.member("unanswered_question", repo.unansweredQuestion.rawValue)
            writer.member("commit_name", repo.commitName)
            writer.member("commit_email", repo.commitEmail)
            writer.member("access", repo.access.rawValue)
            writer.member("notifications", json: repo.notifications)
            writer.member("created_at", repo.createdAt)
            writer.member("updated_at", repo.updatedAt)
            writer.member("deleted_at", repo.deletedAt)
        }
    }
}
