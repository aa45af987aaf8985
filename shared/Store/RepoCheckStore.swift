import Domain
import Postgres

/// What was found of a repository, and when.
package struct RepoCheck: Sendable {
    package let repo: String
    package let requestedAt: Timestamp
    package let checkedAt: Timestamp?
    /// False while the newest request waits for its answer.
    package let isDone: Bool
    /// Of the newest answer; empty when there is none yet.
    package let checks: [Check]

    static let columns: Query = """
        repo, requested_at, checked_at, coalesce(checked_at >= requested_at, false) AS is_done, result::text AS result
        """

    init(row: Row) throws {
        repo = try row.get("repo", as: String.self)
        requestedAt = try row.get("requested_at", as: Timestamp.self)
        checkedAt = try row.get("checked_at", as: Timestamp?.self)
        isDone = try row.get("is_done", as: Bool.self)
        checks = try row.get("result", as: String?.self).map { try JSONText.decode([Check].self, $0) } ?? []
    }
}

/// Checks of repositories: asked for by people, made by an orchestrator, who alone holds the credentials.
package enum RepoCheckStore {
    package static func request(_ repo: String, in connection: Connection) throws -> RepoCheck {
        let row = try connection.query(
            """
            INSERT INTO repo_checks (repo) VALUES (\(repo))
            ON CONFLICT (repo) DO UPDATE SET requested_at = clock_timestamp(), taken_at = NULL
            RETURNING \(RepoCheck.columns)
            """
        ).only()
        return try RepoCheck(row: row)
    }

    package static func find(_ repo: String, in connection: Connection) throws -> RepoCheck? {
        try connection.query("SELECT \(RepoCheck.columns) FROM repo_checks WHERE repo = \(repo)").first
            .map(RepoCheck.init(row:))
    }

    /// All that was ever found, of repositories that are on.
    package static func all(in connection: Connection) throws -> [RepoCheck] {
        try connection.query(
            """
            SELECT \(RepoCheck.columns) FROM repo_checks
            WHERE repo IN (SELECT r.repo FROM repos r WHERE r.deleted_at IS NULL) ORDER BY repo
            """
        ).map(RepoCheck.init(row:))
    }

    /// Takes requests that nobody works on. One whose taker died is taken again after half a minute.
    package static func take(
        limit: Int, in connection: Connection
    ) throws -> [(repo: RepoName, credentialRef: String?, requestedAt: Timestamp)] {
        try connection.query(
            """
            UPDATE repo_checks c SET taken_at = clock_timestamp() FROM repos r
            WHERE r.repo = c.repo AND c.repo IN (
                SELECT w.repo FROM repo_checks w
                WHERE (w.checked_at IS NULL OR w.checked_at < w.requested_at)
                    AND (w.taken_at IS NULL OR w.taken_at < clock_timestamp() - interval '30 s')
                ORDER BY w.requested_at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
            RETURNING c.repo, r.credential_ref, c.requested_at
            """
        ).compactMap { row in
            guard let repo = RepoName(rawValue: try row.get("repo", as: String.self)) else { return nil }
            return (
                repo, try row.get("credential_ref", as: String?.self), try row.get("requested_at", as: Timestamp.self)
            )
        }
    }

    /// Stores what was found. A request that came meanwhile stays open: it may be about a changed credential.
    package static func answer(
        _ repo: RepoName, requestedAt: Timestamp, _ checks: [Check], in connection: Connection
    ) throws {
        let result = try JSONText.encode(checks)
        try connection.query(
            """
            UPDATE repo_checks SET result = \(result)::jsonb,
                checked_at = CASE WHEN requested_at = \(requestedAt) THEN clock_timestamp() ELSE \(requestedAt) END
            WHERE repo = \(repo.rawValue)
            """)
    }
}
