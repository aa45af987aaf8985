import Crypto
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Passwords that administrators give: made here, shown once, good for one login.
struct OncePasswordRoutes: Sendable {
    let pool: Pool
    let authenticator: Authenticator
    let work: PasswordWork
    let settings: GatewaySettings

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/users/{user}/password",
                summary: "Give an account a one-time password; shown this once, and every login of the account ends",
                answers: [(200, .oncePassword)], refusals: [403, 404, 409], handle: give)
        ]
    }

    @Sendable private func give(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.administerUsers)
        _ = try call.query { _ in }
        let name = call.path("user")
        guard let user = try pool.withConnection({ try UserStore.find(name, in: $0) }) else {
            throw APIError.userNotFound
        }
        guard user.disabledAt == nil else {
            throw APIError.conflict("USER_CLOSED", "the account is closed; open it first")
        }
        return try work.reply(call.request) { [self] in
            let password = try Random.token(bytes: 15)
            let hash = try work.hash(password)
            let until = try pool.withTransaction { tx in
                let until = try PasswordStore.giveOnce(
                    to: user.id, hash: hash, lifetime: settings.oncePasswordSeconds, in: tx)
                try AuditStore.record(
                    "password.give", on: user.id.rawValue, by: caller.userID, ["name": .string(user.name)], in: tx)
                return until
            }
            authenticator.forget()
            return Answer.data { writer in
                writer.object { writer in
                    writer.member("user_id", user.id.rawValue)
                    writer.member("name", user.name)
                    writer.member("password", password)
                    writer.member("expires_at", until)
                }
            }
        }
    }
}
