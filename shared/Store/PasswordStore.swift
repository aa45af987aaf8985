import Domain
import Postgres

/// What a login has to know of an account.
package struct LoginRecord: Sendable {
    package let user: UserRecord
    /// Nil when the account has no password, is closed, or its one-time password is over.
    package let passwordHash: String?
}

/// Passwords, as hashes alone. Every change ends the account's logins in its own transaction.
package enum PasswordStore {
    /// By name; nil when nobody is called so.
    package static func login(_ name: String, in connection: Connection) throws -> LoginRecord? {
        try record("u.name = \(name)", in: connection)
    }

    package static func login(_ user: UserID, in connection: Connection) throws -> LoginRecord? {
        try record("u.user_id = \(user.rawValue)", in: connection)
    }

    private static func record(_ condition: Query, in connection: Connection) throws -> LoginRecord? {
        try connection.query(
            """
            SELECT \(UserRecord.columns), CASE WHEN disabled_at IS NULL
                AND coalesce(password_once_until > clock_timestamp(), true) THEN password_hash END AS usable_hash
            FROM users u WHERE \(condition)
            """
        ).first.map { row in
            LoginRecord(user: try UserRecord(row: row), passwordHash: try row.get("usable_hash", as: String?.self))
        }
    }

    /// Opens a login for somebody who has shown the password behind `hash`. Nil when that is not the account's password
    /// any more, or the account was closed meanwhile: the row's lock puts this before or behind every such change.
    ///
    /// - Parameter lifetime: seconds until it ends by itself.
    package static func openSession(
        of user: UserID, shown hash: String, name: String, tokenHash: String, lifetime: Int, in tx: Connection
    ) throws -> TokenRecord? {
        let rows = try tx.query(
            """
            SELECT 1 FROM users WHERE user_id = \(user.rawValue) AND password_hash = \(hash) AND disabled_at IS NULL
            FOR NO KEY UPDATE
            """)
        guard !rows.isEmpty else { return nil }
        return try TokenStore.create(
            for: user, kind: .session, name: name, hash: tokenHash, lifetime: lifetime, in: tx)
    }

    /// Replaces the password that the person has shown by one of their own. False when it is not the account's any more.
    package static func change(
        of user: UserID, from old: String, to new: String, in tx: Connection
    ) throws -> Bool {
        let changed =
            try tx.query(
                """
                UPDATE users SET password_hash = \(new), password_once_until = NULL
                WHERE user_id = \(user.rawValue) AND password_hash = \(old) AND disabled_at IS NULL
                """
            ).affected == 1
        if changed { try TokenStore.endSessions(of: user, in: tx) }
        return changed
    }

    /// Stores the same password at another cost; nobody's login ends.
    package static func renew(of user: UserID, from old: String, to new: String, in tx: Connection) throws {
        try tx.query(
            "UPDATE users SET password_hash = \(new) WHERE user_id = \(user.rawValue) AND password_hash = \(old)")
    }

    /// Gives an account a password that opens one login, for that many seconds. Returns when it is over.
    package static func giveOnce(
        to user: UserID, hash: String, lifetime: Int, in tx: Connection
    ) throws -> Timestamp {
        let row = try tx.query(
            """
            UPDATE users SET password_hash = \(hash),
                password_once_until = clock_timestamp() + make_interval(secs => \(Double(lifetime)))
            WHERE user_id = \(user.rawValue) RETURNING password_once_until
            """
        ).only()
        try TokenStore.endSessions(of: user, in: tx)
        return try row.get("password_once_until", as: Timestamp.self)
    }
}
