import Crypto
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry

/// Coming in with name and password, going out, and changing the password.
///
/// A login is a token like any other, but short: stored hashed, listed and revoked with the rest, and over when the
/// password changes. A refusal says one thing, after the same work, whether the name, the password or the account is
/// what is wrong.
struct LoginRoutes: Sendable {
    let pool: Pool
    let authenticator: Authenticator
    let gate: Gate
    let work: PasswordWork
    let settings: GatewaySettings
    private let logins: Counter

    init(
        pool: Pool, authenticator: Authenticator, gate: Gate, work: PasswordWork, settings: GatewaySettings,
        metrics: Metrics
    ) {
        self.pool = pool
        self.authenticator = authenticator
        self.gate = gate
        self.work = work
        self.settings = settings
        logins = metrics.counter(
            "bgagent_logins_total", "Attempts to log in by what became of them.", labels: ["result"])
        for result in ["ok", "refused", "limited"] { logins.announce(result) }
    }

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/login", summary: "Log in: a short token for name and password",
                access: .open, answers: [(200, .session)], refusals: [401, 403], body: { _ = Self.credentials(&$0) },
                handle: login),
            Endpoint(
                method: "POST", pattern: "/v1/logout", summary: "End the login that this token came from",
                answers: [(200, .token)], refusals: [409], handle: logout),
            Endpoint(
                method: "POST", pattern: "/v1/me/password",
                summary: "Change your password; every login ends, and this one goes on with a new token",
                answers: [(200, .session)], refusals: [403, 409], body: { _ = Self.change(&$0) }, handle: change),
        ]
    }

    private struct Credentials: Sendable {
        let name: String
        let password: String
        let fresh: String?
    }

    private static func credentials(_ fields: inout FieldReader) -> Credentials {
        Credentials(
            name: fields.text("name", "the account's name", length: 1...200, isRequired: true).value ?? "",
            password: fields.text("password", "its password", length: 1...1024, isRequired: true).value ?? "",
            fresh: fields.text(
                "new_password", "the password to have from now on; needed with a one-time password", length: 1...1024
            ).value)
    }

    private static func change(_ fields: inout FieldReader) -> (old: String, fresh: String) {
        (
            fields.text("password", "the password until now", length: 1...1024, isRequired: true).value ?? "",
            fields.text("new_password", "the one from now on", length: 1...1024, isRequired: true).value ?? ""
        )
    }

    // MARK: - In

    @Sendable private func login(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let credentials = try call.fields { Self.credentials(&$0) }
        if let fresh = credentials.fresh { try Self.check(fresh, for: credentials.name) }
        let request = call.request
        if let seconds = gate.loginWait(credentials.name, request) { throw limited(seconds) }
        let address = gate.client(request)
        return try work.reply(request) { [self] in
            let known = try pool.withConnection { try PasswordStore.login(credentials.name, in: $0) }
            let isRight = try work.verify(credentials.password, against: known?.passwordHash)
            guard isRight, let known, let hash = known.passwordHash else {
                throw refuse(credentials.name, known?.user, address)
            }
            if known.user.password == .once, credentials.fresh == nil {
                gate.loginSucceeded(credentials.name)
                throw APIError(
                    403, "PASSWORD_CHANGE_REQUIRED",
                    "this password opens one login; send a password of your own as new_password with it")
            }
            let opened = try open(
                known.user, hash, password: credentials.password, fresh: credentials.fresh, address)
            guard let opened else { throw refuse(credentials.name, known.user, address) }
            logins.increment(by: 1, "ok")
            return Answer.data { $0.session(opened.record, token: opened.token, known.user) }
        }
    }

    /// Opens the login, with another password first when there is to be one. Nil when what was shown is out of date.
    private func open(
        _ user: UserRecord, _ shown: String, password: String, fresh: String?, _ address: String
    ) throws -> (record: TokenRecord, token: String)? {
        let (token, tokenHash) = try Authenticator.makeToken()
        let fresh = try fresh.map { try work.hash($0) }
        let isOld = fresh == nil && PasswordHash.needsRenewal(shown, cost: work.cost)
        let renewed = isOld ? try work.hash(password) : nil
        let refused = gate.loginSucceeded(user.name)
        return try pool.withTransaction { tx in
            var hash = shown
            if let fresh {
                guard try PasswordStore.change(of: user.id, from: shown, to: fresh, in: tx) else { return nil }
                try AuditStore.record("password.change", on: user.id.rawValue, by: user.id, in: tx)
                hash = fresh
            }
            let record = try PasswordStore.openSession(
                of: user.id, shown: hash, name: "login from \(address)", tokenHash: tokenHash,
                lifetime: settings.sessionSeconds, in: tx)
            guard let record else { return nil }
            if let renewed { try PasswordStore.renew(of: user.id, from: shown, to: renewed, in: tx) }
            let detail: JSONValue = ["address": .string(address), "refused_before": JSONValue(refused)]
            try AuditStore.record("session.login", on: record.id.rawValue, by: user.id, detail, in: tx)
            return (record, token)
        }
    }

    /// The one refusal. What the audit log is told of it is written behind the answer.
    private func refuse(_ name: String, _ user: UserRecord?, _ address: String) -> APIError {
        logins.increment(by: 1, "refused")
        if let count = gate.loginRefused(name, isKnown: user != nil) {
            let subject = user?.id.rawValue ?? "unknown"
            work.later("noting a refused login") { [pool] in
                let detail: JSONValue = ["address": .string(address), "refused": JSONValue(count)]
                try pool.withTransaction {
                    try AuditStore.record("session.refuse", on: subject, by: nil, detail, in: $0)
                }
            }
        }
        return APIError(401, "LOGIN_REFUSED", "name or password is wrong, or the account takes no login")
    }

    private func limited(_ seconds: Int) -> APIError {
        logins.increment(by: 1, "limited")
        return .limited("too many attempts to log in", retryAfter: seconds)
    }

    // MARK: - Out

    @Sendable private func logout(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        _ = try call.query { _ in }
        guard let session = caller.session else {
            throw APIError.conflict(
                "NOT_A_LOGIN", "this is an API token, which stays until it is revoked: DELETE /v1/tokens/{token_id}")
        }
        let record = try pool.withTransaction { tx in
            try AuditStore.record("session.logout", on: session.rawValue, by: caller.userID, in: tx)
            return try TokenStore.revoke(session, in: tx)
        }
        authenticator.forget()
        return .response(Answer.data { $0.token(record, token: nil) })
    }

    // MARK: - Another password

    @Sendable private func change(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        _ = try call.query { _ in }
        let (old, fresh) = try call.fields { Self.change(&$0) }
        try Self.check(fresh, for: caller.name)
        guard old != fresh else { throw APIError.invalid("new_password must differ from password") }
        let request = call.request
        if let seconds = gate.passwordWait(caller.name) { throw limited(seconds) }
        let address = gate.client(request)
        return try work.reply(request) { [self] in
            guard let known = try pool.withConnection({ try PasswordStore.login(caller.userID, in: $0) }) else {
                throw APIError.unauthorized
            }
            guard known.user.password != .none else {
                throw APIError.conflict(
                    "NO_PASSWORD", "the account has no password; an administrator gives it a first one")
            }
            guard try work.verify(old, against: known.passwordHash), let shown = known.passwordHash else {
                _ = refuse(known.user.name, known.user, address)
                throw APIError(403, "PASSWORD_WRONG", "password is not your password until now")
            }
            guard caller.session != nil else { return try replace(known.user, shown, fresh) }
            guard let opened = try open(known.user, shown, password: old, fresh: fresh, address) else {
                throw Self.overtaken
            }
            return Answer.data { $0.session(opened.record, token: opened.token, known.user) }
        }
    }

    /// For who came with an API token, which stays: no login is opened.
    private func replace(_ user: UserRecord, _ shown: String, _ fresh: String) throws -> Response {
        let hash = try work.hash(fresh)
        gate.loginSucceeded(user.name)
        try pool.withTransaction { tx in
            guard try PasswordStore.change(of: user.id, from: shown, to: hash, in: tx) else { throw Self.overtaken }
            try AuditStore.record("password.change", on: user.id.rawValue, by: user.id, in: tx)
        }
        return Answer.data { $0.session(nil, token: nil, user) }
    }

    private static let overtaken = APIError.conflict(
        "PASSWORD_CHANGED", "the password was changed meanwhile; log in anew")

    private static func check(_ password: String, for name: String) throws {
        guard let problem = PasswordRules.problem(password, user: name) else { return }
        throw APIError.invalid("new_password \(problem)")
    }
}

extension JSONWriter {
    /// - Parameters:
    ///   - record: the login; nil when none was opened.
    ///   - token: its text, the one time that it is shown.
    mutating func session(_ record: TokenRecord?, token: String?, _ user: UserRecord) {
        object { writer in
            writer.member("token_id", record?.id.rawValue)
            writer.member("token", token)
            writer.member("expires_at", record?.expiresAt)
            writer.member("user_id", user.id.rawValue)
            writer.member("name", user.name)
            writer.member("role", user.role.rawValue)
        }
    }
}
