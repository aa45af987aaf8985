import Domain
import Postgres

/// Who works on a repository without being asked for a grant.
package enum RepoAccess: String, Sendable, CaseIterable, PostgresEncodable, PostgresDecodable {
    /// Every member.
    case open
    /// Nobody: to those without a grant it does not exist.
    case restricted
}

/// What a grant on a repository allows. Each level allows what those before it do; a role stays the upper bound.
package enum GrantLevel: String, Sendable, CaseIterable, Comparable, PostgresEncodable, PostgresDecodable {
    /// See its settings and everybody's tasks.
    case read
    /// Submit tasks.
    case submit
    /// Steer everybody's tasks: cancel them, speak to their agents, decide for them.
    case steer

    private var rank: Int {
        switch self {
        case .read: 0
        case .submit: 1
        case .steer: 2
        }
    }

    package static func < (left: GrantLevel, right: GrantLevel) -> Bool { left.rank < right.rank }
}

/// How somebody stands to a repository.
package struct RepoStanding: Sendable, Hashable {
    package let access: RepoAccess
    /// Their grant; nil = none.
    package let level: GrantLevel?

    package init(access: RepoAccess, level: GrantLevel?) {
        self.access = access
        self.level = level
    }

    /// To what is not there, or is not known: nothing is allowed but to administrators.
    package static let unknown = RepoStanding(access: .restricted, level: nil)
}

/// How somebody stands to a task: whose it is, and how they stand to its repository.
package struct TaskStanding: Sendable, Hashable {
    package let owner: UserID
    package let repo: RepoStanding

    package init(owner: UserID, repo: RepoStanding) {
        self.owner = owner
        self.repo = repo
    }

    /// What a query on `tasks t` adds, so that `init(row:)` can read how `asker` stands to the task.
    static func columns(for asker: UserID) -> Query {
        """
        t.user_id AS owner_id, (SELECT r.access FROM repos r WHERE r.repo = t.repo) AS repo_access,
        (SELECT g.level FROM repo_grants g WHERE g.repo = t.repo AND g.user_id = \(asker.rawValue)) AS grant_level
        """
    }

    init(row: Row) throws {
        self.init(
            owner: try row.ulid("owner_id"),
            repo: RepoStanding(
                access: try row.get("repo_access", as: RepoAccess.self),
                level: try row.get("grant_level", as: GrantLevel?.self)))
    }
}

/// One grant as stored.
package struct GrantRecord: Sendable {
    package let repo: String
    package let userID: UserID
    package let userName: String
    package let level: GrantLevel
    package let createdAt: Timestamp
    package let updatedAt: Timestamp

    static let columns: Query = "g.repo, g.user_id, u.name AS user_name, g.level, g.created_at, g.updated_at"

    init(row: Row) throws {
        repo = try row.get("repo", as: String.self)
        userID = try row.ulid("user_id")
        userName = try row.get("user_name", as: String.self)
        level = try row.get("level", as: GrantLevel.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        updatedAt = try row.get("updated_at", as: Timestamp.self)
    }
}

/// Grants on repositories. They count from the next request on; nothing of them is remembered anywhere.
package enum GrantStore {
    /// How a user stands to a repository that is onboarded; `unknown` when it is not.
    package static func standing(
        of user: UserID, to repo: RepoName, in connection: Connection
    ) throws -> RepoStanding {
        let rows = try connection.query(
            """
            SELECT r.access, g.level FROM repos r
            LEFT JOIN repo_grants g ON g.repo = r.repo AND g.user_id = \(user.rawValue)
            WHERE r.repo = \(repo.rawValue) AND r.deleted_at IS NULL
            """)
        guard let row = rows.first else { return .unknown }
        return RepoStanding(
            access: try row.get("access", as: RepoAccess.self), level: try row.get("level", as: GrantLevel?.self))
    }

    /// How a user stands to a task; nil when there is none.
    package static func standing(of user: UserID, to task: TaskID, in connection: Connection) throws -> TaskStanding? {
        try connection.query(
            "SELECT \(TaskStanding.columns(for: user)) FROM tasks t WHERE t.task_id = \(task.rawValue)"
        ).first.map(TaskStanding.init(row:))
    }

    /// The condition on a task `t` that its viewer may see it; nil = everybody's. What `authorize` says of reading.
    static func isSeen(by viewer: UserID?) -> Query {
        guard let viewer else { return "true" }
        return """
            EXISTS (SELECT FROM repos r
                LEFT JOIN repo_grants g ON g.repo = r.repo AND g.user_id = \(viewer.rawValue)
                WHERE r.repo = t.repo
                    AND (g.level IS NOT NULL OR (t.user_id = \(viewer.rawValue) AND r.access = 'open')))
            """
    }

    /// How these users stand to a task; nobody when there is none.
    package static func standings(
        of users: [UserID], to task: TaskID, in connection: Connection
    ) throws -> [UserID: TaskStanding] {
        let rows = try connection.query(
            """
            SELECT a.asker_id, t.user_id AS owner_id, r.access AS repo_access, g.level AS grant_level
            FROM tasks t JOIN repos r ON r.repo = t.repo
            CROSS JOIN unnest(\(users.map(\.rawValue))) AS a (asker_id)
            LEFT JOIN repo_grants g ON g.repo = t.repo AND g.user_id = a.asker_id
            WHERE t.task_id = \(task.rawValue)
            """)
        var standings: [UserID: TaskStanding] = [:]
        for row in rows { standings[try row.ulid("asker_id")] = try TaskStanding(row: row) }
        return standings
    }

    /// Gives a user this level, whatever they had before.
    package static func set(
        _ level: GrantLevel, on repo: RepoName, for user: UserID, in tx: Connection
    ) throws -> GrantRecord {
        let rows = try tx.query(
            """
            WITH g AS (INSERT INTO repo_grants AS o (repo, user_id, level)
                VALUES (\(repo.rawValue), \(user.rawValue), \(level))
                ON CONFLICT (repo, user_id) DO UPDATE SET level = excluded.level, updated_at = clock_timestamp()
                RETURNING o.*)
            SELECT \(GrantRecord.columns) FROM g JOIN users u USING (user_id)
            """)
        return try GrantRecord(row: try rows.only())
    }

    /// Takes a grant away. Nil when there is none.
    package static func remove(on repo: RepoName, for user: UserID, in tx: Connection) throws -> GrantRecord? {
        try tx.query(
            """
            WITH g AS (DELETE FROM repo_grants WHERE repo = \(repo.rawValue) AND user_id = \(user.rawValue) RETURNING *)
            SELECT \(GrantRecord.columns) FROM g JOIN users u USING (user_id)
            """
        ).first.map(GrantRecord.init(row:))
    }

    /// A repository's grants by the names of their users, from behind `after` on.
    package static func list(
        on repo: RepoName, after: String?, limit: Int, in connection: Connection
    ) throws -> [GrantRecord] {
        try connection.query(
            """
            SELECT \(GrantRecord.columns) FROM repo_grants g JOIN users u USING (user_id)
            WHERE g.repo = \(repo.rawValue) AND (\(after)::text IS NULL OR u.name > \(after))
            ORDER BY u.name LIMIT \(limit)
            """
        ).map(GrantRecord.init(row:))
    }
}
