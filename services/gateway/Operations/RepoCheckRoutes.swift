import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Whether tasks can work on a repository. The gateway holds no credential: it records the question, an orchestrator
/// answers it within seconds.
struct RepoCheckRoutes: Sendable {
    let pool: Pool
    private static let pattern = "/v1/repos/{owner}/{name}/check"

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: Self.pattern, summary: "Ask for a check of the repository and its credential",
                answers: [(202, .repoCheck)], refusals: [403, 404], handle: request),
            Endpoint(
                method: "GET", pattern: Self.pattern, summary: "What the newest check found",
                answers: [(200, .repoCheck)], refusals: [404], handle: show),
        ]
    }

    @Sendable private func request(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        try call.principal().require(.changeRepos)
        let name = try call.repo()
        let check = try pool.withTransaction { tx in
            guard try RepoStore.find(name, in: tx) != nil else { throw APIError.repoNotFound }
            return try RepoCheckStore.request(name.rawValue, in: tx)
        }
        return .response(Answer.data(status: 202) { $0.repoCheck(check) })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let caller = try call.principal()
        let name = try call.repo()
        let (standing, found) = try pool.withConnection { connection in
            (
                try GrantStore.standing(of: caller.userID, to: name, in: connection),
                try RepoStore.find(name, in: connection) == nil
                    ? nil : try RepoCheckStore.find(name.rawValue, in: connection)
            )
        }
        try caller.require(.readRepos, .repo(standing), hidden: .repoNotFound)
        guard let found else {
            throw APIError.notFound("REPO_NOT_FOUND", "there is no such repository here, or nobody asked for a check")
        }
        return .response(Answer.data { $0.repoCheck(found) })
    }
}

extension JSONWriter {
    mutating func repoCheck(_ check: RepoCheck) {
        let state = !check.isDone ? "pending" : check.checks.allSatisfy(\.ok) ? "passed" : "failed"
        object { writer in
            writer.member("repo", check.repo)
            writer.member("state", state)
            writer.member("requested_at", check.requestedAt)
            writer.member("checked_at", check.checkedAt)
            writer.checks(check.checks)
        }
    }
}
