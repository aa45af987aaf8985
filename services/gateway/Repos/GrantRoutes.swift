import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Who may do what in one repository: administrators give grants and take them away.
struct GrantRoutes: Sendable {
    let pool: Pool

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/repos/{owner}/{name}/grants", summary: "List a repository's grants",
                answers: [(200, .grantPage)], refusals: [403, 404], query: { _ = Paging(&$0) }, handle: list),
            Endpoint(
                method: "PUT", pattern: "/v1/repos/{owner}/{name}/grants/{user}",
                summary: "Grant a user a level on a repository, in place of the one before",
                answers: [(200, .grant)], refusals: [403, 404], body: { _ = Self.level(&$0) }, handle: grant),
            Endpoint(
                method: "DELETE", pattern: "/v1/repos/{owner}/{name}/grants/{user}",
                summary: "Take a user's grant on a repository away", answers: [(200, .grant)], refusals: [403, 404],
                handle: revoke),
        ]
    }

    private static func level(_ fields: inout FieldReader) -> GrantLevel? {
        fields.choice(
            "level", "what it allows; each level allows what those before it do", isRequired: true, as: GrantLevel.self
        ).value
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        try call.principal().require(.changeRepos)
        let paging = try call.query { Paging(&$0) }
        let name = try call.repo()
        let grants = try pool.withConnection { connection in
            guard try RepoStore.find(name, in: connection) != nil else { throw APIError.repoNotFound }
            return try GrantStore.list(on: name, after: paging.after, limit: paging.limit + 1, in: connection)
        }
        return .response(paging.answer(grants, key: \.userName) { $0.grant($1) })
    }

    @Sendable private func grant(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.changeRepos)
        _ = try call.query { _ in }
        guard let level = try call.fields({ Self.level(&$0) }) else { throw APIError.invalid("level is missing") }
        let grant = try pool.withTransaction { tx in
            let (name, user) = try target(call, in: tx)
            let grant = try GrantStore.set(level, on: name, for: user.id, in: tx)
            try record("repo.grant", grant, by: caller, in: tx)
            return grant
        }
        return .response(Answer.data { $0.grant(grant) })
    }

    @Sendable private func revoke(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.changeRepos)
        _ = try call.query { _ in }
        let grant = try pool.withTransaction { tx in
            let (name, user) = try target(call, in: tx)
            guard let grant = try GrantStore.remove(on: name, for: user.id, in: tx) else {
                throw APIError.notFound("GRANT_NOT_FOUND", "\(user.name) has no grant on \(name)")
            }
            try record("repo.revoke", grant, by: caller, in: tx)
            return grant
        }
        return .response(Answer.data { $0.grant(grant) })
    }

    private func target(_ call: Call, in tx: Connection) throws -> (repo: RepoName, user: UserRecord) {
        let name = try call.repo()
        guard try RepoStore.find(name, in: tx) != nil else { throw APIError.repoNotFound }
        guard let user = try UserStore.find(call.path("user"), in: tx) else { throw APIError.userNotFound }
        return (name, user)
    }

    private func record(_ action: String, _ grant: GrantRecord, by caller: Principal, in tx: Connection) throws {
        let detail: JSONValue = ["user": .string(grant.userName), "level": .string(grant.level.rawValue)]
        try AuditStore.record(action, on: grant.repo, by: caller.userID, detail, in: tx)
    }
}

extension JSONWriter {
    mutating func grant(_ grant: GrantRecord) {
        object { writer in
            writer.member("repo", grant.repo)
            writer.member("user_id", grant.userID.rawValue)
            writer.member("user_name", grant.userName)
            writer.member("level", grant.level.rawValue)
            writer.member("created_at", grant.createdAt)
            writer.member("updated_at", grant.updatedAt)
        }
    }
}
