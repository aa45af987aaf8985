import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// API tokens: everybody makes and revokes their own, administrators everybody's. The text is shown once. Logins are
/// listed and revoked with them.
struct TokenRoutes: Sendable {
    let pool: Pool
    let authenticator: Authenticator

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/users/{user}/tokens", summary: "Make an API token; shown this once",
                answers: [(201, .newToken)], refusals: [403, 404, 409], body: { _ = Self.fields(&$0) },
                handle: create),
            Endpoint(
                method: "GET", pattern: "/v1/users/{user}/tokens", summary: "List an account's API tokens and logins",
                answers: [(200, .tokenPage)], refusals: [403, 404], query: { _ = Paging(&$0) }, handle: list),
            Endpoint(
                method: "DELETE", pattern: "/v1/tokens/{token_id}", summary: "Revoke an API token or end a login",
                answers: [(200, .token)], refusals: [404], handle: revoke),
        ]
    }

    private static func fields(_ fields: inout FieldReader) -> (name: String, lifetime: Int?) {
        let name = fields.text("name", "what it is for", length: 1...100).value ?? "api"
        return (name, fields.integer("expires_in_s", "seconds until it expires", in: 1...315_360_000).value)
    }

    @Sendable private func create(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        _ = try call.query { _ in }
        let fields = try call.fields { Self.fields(&$0) }
        let (token, hash) = try Authenticator.makeToken()
        let record = try pool.withTransaction { tx in
            let user = try owner(call, caller, in: tx)
            guard user.disabledAt == nil else {
                throw APIError.conflict("USER_CLOSED", "the account is closed")
            }
            let record = try TokenStore.create(
                for: user.id, name: fields.name, hash: hash, lifetime: fields.lifetime, in: tx)
            try AuditStore.record(
                "token.create", on: record.id.rawValue, by: caller.userID, ["user": .string(user.name)], in: tx)
            return record
        }
        return .response(Answer.data(status: 201) { $0.token(record, token: token) })
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        let paging = try call.query { Paging(&$0) }
        let after = try paging.after.map { text in
            guard let id = TokenID(rawValue: text) else {
                throw APIError.invalid("next_token is no token of an earlier page")
            }
            return id
        }
        let tokens = try pool.withConnection { connection in
            let user = try owner(call, caller, in: connection)
            return try TokenStore.list(of: user.id, after: after, limit: paging.limit + 1, in: connection)
        }
        return .response(paging.answer(tokens, key: \.id.rawValue) { $0.token($1, token: nil) })
    }

    @Sendable private func revoke(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        _ = try call.query { _ in }
        guard let id = TokenID(rawValue: call.path("token_id")) else { throw APIError.tokenNotFound }
        defer { authenticator.forget() }
        let token = try pool.withTransaction { tx in
            guard let token = try TokenStore.find(id, in: tx),
                authorize(caller, .manageTokens, .account(token.userID)) == .allowed
            else { throw APIError.tokenNotFound }
            let revoked = try TokenStore.revoke(id, in: tx)
            if token.revokedAt == nil {
                try AuditStore.record("token.revoke", on: id.rawValue, by: caller.userID, in: tx)
            }
            return revoked
        }
        return .response(Answer.data { $0.token(token, token: nil) })
    }

    /// The account that the path names, when the caller may manage its tokens.
    private func owner(_ call: Call, _ caller: Principal, in connection: Connection) throws -> UserRecord {
        let user = try UserStore.find(call.path("user"), in: connection)
        try caller.require(.manageTokens, .account(user?.id))
        guard let user else { throw APIError.userNotFound }
        return user
    }
}

extension JSONWriter {
    /// - Parameter token: its text, the one time that it is shown.
    mutating func token(_ record: TokenRecord, token: String?) {
        object { writer in
            writer.member("token_id", record.id.rawValue)
            writer.member("user_id", record.userID.rawValue)
            writer.member("kind", record.kind.rawValue)
            writer.member("name", record.name)
            if let token { writer.member("token", token) }
            writer.member("created_at", record.createdAt)
            writer.member("expires_at", record.expiresAt)
            writer.member("revoked_at", record.revokedAt)
        }
    }
}
