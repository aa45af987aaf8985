import Domain
import Postgres

/// Where a token came from.
package enum TokenKind: String, Sendable, CaseIterable, PostgresEncodable, PostgresDecodable {
    /// Made by hand, for a program.
    case api
    /// Made by a login; ends by itself, with a logout, and with a change of the password.
    case session
}

/// One token as stored: everything but the token.
package struct TokenRecord: Sendable {
    package let id: TokenID
    package let userID: UserID
    package let kind: TokenKind
    package let name: String
    package let createdAt: Timestamp
    package let expiresAt: Timestamp?
    package let revokedAt: Timestamp?

    static let columns: Query = "token_id, user_id, kind, name, created_at, expires_at, revoked_at"

    init(row: Row) throws {
        id = try row.ulid("token_id")
        userID = try row.ulid("user_id")
        kind = try row.get("kind", as: TokenKind.self)
        name = try row.get("name", as: String.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        expiresAt = try row.get("expires_at", as: Timestamp?.self)
        revokedAt = try row.get("revoked_at", as: Timestamp?.self)
    }
}

/// API tokens and login sessions, known by the SHA-256 of their text alone.
package enum TokenStore {
    /// What makes a token of alias `k` with its user `u` good now.
    static let isAlive: Query = """
        k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AND u.disabled_at IS NULL
        """

    /// Whom a token speaks for; nil when it is unknown, revoked, expired, or its account is closed.
    package static func principal(hash: String, in connection: Connection) throws -> Principal? {
        try connection.query(
            """
            SELECT \(Principal.columns) FROM api_tokens k JOIN users u USING (user_id)
            WHERE k.token_hash = \(hash) AND \(isAlive)
            """
        ).first.map(Principal.init(row:))
    }

    /// - Parameter lifetime: seconds until it expires; nil = never.
    package static func create(
        for user: UserID, kind: TokenKind = .api, name: String, hash: String, lifetime: Int?, in tx: Connection
    ) throws -> TokenRecord {
        let rows = try tx.query(
            """
            INSERT INTO api_tokens (user_id, kind, name, token_hash, expires_at)
            VALUES (\(user.rawValue), \(kind), \(name), \(hash),
                clock_timestamp() + make_interval(secs => \(lifetime.map { Double($0) })))
            RETURNING \(TokenRecord.columns)
            """)
        return try TokenRecord(row: try rows.only())
    }

    /// A user's tokens, oldest first, from behind `after` on.
    package static func list(
        of user: UserID, after: TokenID?, limit: Int, in connection: Connection
    ) throws -> [TokenRecord] {
        try connection.query(
            """
            SELECT \(TokenRecord.columns) FROM api_tokens
            WHERE user_id = \(user.rawValue) AND (\(after?.rawValue)::text IS NULL OR token_id > \(after?.rawValue))
            ORDER BY token_id LIMIT \(limit)
            """
        ).map(TokenRecord.init(row:))
    }

    package static func find(_ id: TokenID, in connection: Connection) throws -> TokenRecord? {
        try connection.query("SELECT \(TokenRecord.columns) FROM api_tokens WHERE token_id = \(id.rawValue)").first
            .map(TokenRecord.init(row:))
    }

    /// A repeat changes nothing.
    package static func revoke(_ id: TokenID, in tx: Connection) throws -> TokenRecord {
        let rows = try tx.query(
            """
            UPDATE api_tokens SET revoked_at = coalesce(revoked_at, clock_timestamp())
            WHERE token_id = \(id.rawValue) RETURNING \(TokenRecord.columns)
            """)
        return try TokenRecord(row: try rows.only())
    }

    /// Ends every login of a user. Returns how many were alive.
    @discardableResult
    package static func endSessions(of user: UserID, in tx: Connection) throws -> Int {
        try tx.query(
            """
            UPDATE api_tokens SET revoked_at = clock_timestamp()
            WHERE user_id = \(user.rawValue) AND kind = 'session' AND revoked_at IS NULL
                AND expires_at > clock_timestamp()
            """
        ).affected
    }

    /// The first key to a new installation: the account `admin` and a token for it, unless some administrator can come
    /// in already. Of many processes that ask at once, one makes it.
    ///
    /// - Parameters:
    ///   - hash: of the token that is offered.
    ///   - keep: puts the token where a person finds it, before the commit: a crash between the two leaves a file whose
    ///     token opens nothing, and the next start makes another.
    /// - Returns: whether the token was made.
    package static func bootstrap(hash: String, keep: () throws -> Void, in tx: Connection) throws -> Bool {
        try tx.query("SELECT pg_advisory_xact_lock(\(0x6267_6167_656e_7404 as Int64))")
        // A login that is open now ends; what opens the next one counts.
        let alive = try tx.query(
            """
            SELECT 1 FROM users u WHERE u.role = 'admin' AND u.disabled_at IS NULL AND (
                u.password_hash IS NOT NULL AND coalesce(u.password_once_until > clock_timestamp(), true)
                OR EXISTS (SELECT FROM api_tokens k WHERE k.user_id = u.user_id AND k.kind = 'api' AND \(isAlive)))
            LIMIT 1
            """)
        guard alive.isEmpty else { return false }
        // An `admin` that was closed or lowered is the only way back into an installation without any.
        let user = try tx.query(
            """
            INSERT INTO users (name, role) VALUES ('admin', 'admin')
            ON CONFLICT (name) DO UPDATE SET role = 'admin', disabled_at = NULL RETURNING user_id
            """
        ).only()
        let id: UserID = try user.ulid("user_id")
        _ = try create(for: id, name: "first-start", hash: hash, lifetime: nil, in: tx)
        try AuditStore.record("token.bootstrap", on: "admin", by: nil, in: tx)
        try keep()
        return true
    }
}

/// Whether the audit log is what was written.
package struct AuditVerification: Sendable, Hashable {
    package let entries: Int64
    /// The first entry that was changed, or before which one is missing.
    package let breach: Int64?
    /// The seal of the newest entry: kept elsewhere, it proves the whole log up to it.
    package let head: String?
    /// Whether the log still holds the entry with the seal that was asked for.
    package let hasSeal: Bool
}

/// Who changed what of the installation itself. Append-only and chained by the schema.
package enum AuditStore {
    /// - Parameters:
    ///   - action: what was done, as `repo.create`.
    ///   - subject: to what: a repository's name, a user's or token's id.
    ///   - user: nil = the platform itself.
    package static func record(
        _ action: String, on subject: String, by user: UserID?, _ detail: JSONValue = [:], in tx: Connection
    ) throws {
        try tx.query(
            """
            INSERT INTO audit_log (user_id, action, subject, detail)
            VALUES (\(user?.rawValue), \(action), \(subject), \(detail))
            """)
    }

    /// Seals every entry again. A long log takes seconds: the transaction's statements may take half a minute.
    ///
    /// - Parameter seal: a head that was told before. Entries that were cut off at the end break no chain.
    package static func verify(
        seal: String? = nil, in tx: Connection
    ) throws -> AuditVerification {
        try tx.query("SET LOCAL statement_timeout = '30s'")
        let row = try tx.query(
            """
            SELECT (SELECT count(*) FROM audit_log) AS entries, audit_breach() AS breach,
                (SELECT chain FROM audit_log ORDER BY id DESC LIMIT 1) AS head,
                \(seal)::text IS NULL OR EXISTS (SELECT FROM audit_log WHERE chain = \(seal)) AS has_seal
            """
        ).only()
        return AuditVerification(
            entries: try row.get("entries", as: Int64.self), breach: try row.get("breach", as: Int64?.self),
            head: try row.get("head", as: String?.self), hasSeal: try row.get("has_seal", as: Bool.self))
    }
}
