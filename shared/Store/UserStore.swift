import Domain
import Postgres

/// What an account may do.
package enum UserRole: String, Sendable, CaseIterable, PostgresEncodable, PostgresDecodable {
    /// Everything, for everybody's tasks.
    case admin
    /// Submits tasks and steers its own.
    case member
    /// Looks at its own tasks.
    case viewer
}

/// Whom a token speaks for.
package struct Principal: Sendable, Hashable {
    package let userID: UserID
    package let name: String
    package let role: UserRole
    /// The login that the token came from; nil for an API token.
    package let session: TokenID?

    package init(userID: UserID, name: String, role: UserRole, session: TokenID? = nil) {
        self.userID = userID
        self.name = name
        self.role = role
        self.session = session
    }

    /// The columns that `init(row:)` reads, of `api_tokens k` with `users u`.
    static let columns: Query = """
        u.user_id, u.name AS user_name, u.role, CASE WHEN k.kind = 'session' THEN k.token_id END AS session_id
        """

    init(row: Row) throws {
        self.init(
            userID: try row.ulid("user_id"), name: try row.get("user_name", as: String.self),
            role: try row.get("role", as: UserRole.self),
            session: try row.get("session_id", as: String?.self).flatMap { TokenID(rawValue: $0) })
    }
}

/// What an account can log in with.
package enum PasswordState: String, Sendable, CaseIterable, PostgresEncodable, PostgresDecodable {
    /// Nothing: API tokens alone.
    case none
    /// A password of the person's own.
    case set
    /// One that an administrator was shown: good for one login, which must bring another.
    case once
}

/// One account as stored.
package struct UserRecord: Sendable {
    package let id: UserID
    package let name: String
    package let email: String?
    package let role: UserRole
    /// The user's notification settings as JSON text.
    package let notifications: String
    /// Tasks at work at once; nil = the platform's number.
    package let maxConcurrent: Int?
    package let password: PasswordState
    package let createdAt: Timestamp
    package let disabledAt: Timestamp?

    static let columns: Query = """
        user_id, name, email, role, notifications::text AS notifications, max_concurrent, created_at, disabled_at,
        CASE WHEN password_hash IS NULL THEN 'none' WHEN password_once_until IS NULL THEN 'set' ELSE 'once' END
            AS password_state
        """

    init(row: Row) throws {
        id = try row.ulid("user_id")
        name = try row.get("name", as: String.self)
        email = try row.get("email", as: String?.self)
        role = try row.get("role", as: UserRole.self)
        notifications = try row.get("notifications", as: String.self)
        maxConcurrent = try row.get("max_concurrent", as: Int?.self)
        password = try row.get("password_state", as: PasswordState.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        disabledAt = try row.get("disabled_at", as: Timestamp?.self)
    }
}

/// One column of a row that is made or changed, with the value it gets.
package struct ColumnValue: Sendable {
    package let column: String
    package let value: Query

    package init(_ column: String, _ value: Query) {
        self.column = column
        self.value = value
    }

    static func names(_ all: [ColumnValue]) -> Query {
        .joined(all.map { "\(identifier: $0.column)" }, by: ", ")
    }

    static func values(_ all: [ColumnValue]) -> Query {
        .joined(all.map(\.value), by: ", ")
    }

    static func assignments(_ all: [ColumnValue]) -> Query {
        .joined(all.map { "\(identifier: $0.column) = \($0.value)" }, by: ", ")
    }
}

/// Accounts. They are closed, never deleted: tasks and the audit log go on naming them.
package enum UserStore {
    /// Those of the names that are nobody's, in their order.
    package static func unknown(of names: [String], in connection: Connection) throws -> [String] {
        if names.isEmpty { return [] }
        let known = try connection.query("SELECT name FROM users WHERE name = ANY(\(names))").map { row in
            try row.get("name", as: String.self)
        }
        return names.filter { !known.contains($0) }
    }

    /// Serializes what could take away the last administrator.
    private static let lockKey: Int64 = 0x6267_6167_656e_7403

    /// By id or by name.
    package static func find(_ text: String, in connection: Connection) throws -> UserRecord? {
        let id = UserID(rawValue: text)?.rawValue
        return try connection.query(
            "SELECT " + UserRecord.columns
                + " FROM users WHERE name = \(text) OR user_id = \(id) ORDER BY name = \(text) DESC LIMIT 1"
        ).first.map(UserRecord.init(row:))
    }

    /// By name, from behind `after` on.
    package static func list(after: String?, limit: Int, in connection: Connection) throws -> [UserRecord] {
        try connection.query(
            "SELECT " + UserRecord.columns + """
                 FROM users WHERE \(after)::text IS NULL OR name > \(after) ORDER BY name LIMIT \(limit)
                """
        ).map(UserRecord.init(row:))
    }

    /// Throws the unique violation `users_name_key` when the name is taken.
    package static func create(_ values: [ColumnValue], in tx: Connection) throws -> UserRecord {
        let query: Query =
            "INSERT INTO users (" + ColumnValue.names(values) + ") VALUES (" + ColumnValue.values(values)
            + ") RETURNING " + UserRecord.columns
        return try UserRecord(row: try tx.query(query).only())
    }

    package static func update(_ id: UserID, _ values: [ColumnValue], in tx: Connection) throws -> UserRecord {
        let query: Query =
            "UPDATE users SET " + ColumnValue.assignments(values) + " WHERE user_id = \(id.rawValue) RETURNING "
            + UserRecord.columns
        return try UserRecord(row: try tx.query(query).only())
    }

    /// Closes the account and revokes its tokens. A repeat changes nothing.
    package static func disable(_ id: UserID, in tx: Connection) throws -> UserRecord {
        let user = try update(id, [ColumnValue("disabled_at", "coalesce(disabled_at, clock_timestamp())")], in: tx)
        try revokeTokens(of: id, in: tx)
        return user
    }

    /// Revokes API tokens and logins of an account that was closed: opened again, it has none. After the account's own
    /// row was changed, so that a login on its way is either seen here or refused.
    package static func revokeTokens(of id: UserID, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE api_tokens SET revoked_at = clock_timestamp() WHERE user_id = \(id.rawValue) AND revoked_at IS NULL
            """)
    }

    /// How many administrators there are; holds off every other change of accounts until the transaction ends.
    package static func countAdmins(in tx: Connection) throws -> Int {
        try tx.query("SELECT pg_advisory_xact_lock(\(lockKey))")
        let rows = try tx.query("SELECT count(*) AS admins FROM users WHERE role = 'admin' AND disabled_at IS NULL")
        return try rows.only().get("admins", as: Int.self)
    }
}
