import Domain
import Forge
import Postgres
import Store
import Telemetry

/// Answers requests to check a repository. The looks are repeated without harm, so a crash in between costs nothing: the
/// request is taken again.
struct RepositoryChecks: Sendable {
    let pool: Pool
    let forges: ForgeAccess
    let log: Logger
    private static let atOnce = 4

    func runOnce() async throws {
        let open = try await pool.run { try RepoCheckStore.take(limit: Self.atOnce, in: $0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for request in open {
                group.addTask {
                    let checks = await forges.check(request.repo, credentialRef: request.credentialRef)
                    try await pool.run {
                        try RepoCheckStore.answer(request.repo, requestedAt: request.requestedAt, checks, in: $0)
                    }
                    let failed = checks.first { !$0.ok }
                    log.info("repository checked", ["repo": request.repo.rawValue, "failed": failed?.name])
                }
            }
            try await group.waitForAll()
        }
    }
}
