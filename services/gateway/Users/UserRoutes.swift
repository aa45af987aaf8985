import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Accounts: administrators make and change them, everybody sees their own.
struct UserRoutes: Sendable {
    let pool: Pool
    let authenticator: Authenticator

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/me", summary: "The account of this token", answers: [(200, .user)],
                handle: me),
            Endpoint(
                method: "GET", pattern: "/v1/users", summary: "List accounts", answers: [(200, .userPage)],
                refusals: [403], query: { _ = Paging(&$0) }, handle: list),
            Endpoint(
                method: "POST", pattern: "/v1/users", summary: "Make an account", answers: [(201, .user)],
                refusals: [403, 409], body: { _ = Self.fields(&$0, isNew: true) }, handle: create),
            Endpoint(
                method: "GET", pattern: "/v1/users/{user}", summary: "An account, by id or name",
                answers: [(200, .user)], refusals: [403, 404], handle: show),
            Endpoint(
                method: "PATCH", pattern: "/v1/users/{user}", summary: "Change an account", answers: [(200, .user)],
                refusals: [403, 404, 409], body: { _ = Self.fields(&$0, isNew: false) }, handle: update),
            Endpoint(
                method: "DELETE", pattern: "/v1/users/{user}", summary: "Close an account and revoke its tokens",
                answers: [(200, .user)], refusals: [403, 404, 409], handle: remove),
        ]
    }

    // MARK: - Reading

    @Sendable private func me(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let caller = try call.principal()
        let user = try pool.withConnection { try UserStore.find(caller.userID.rawValue, in: $0) }
        guard let user else { throw APIError.unauthorized }
        return .response(Answer.data { $0.user(user) })
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        try call.principal().require(.administerUsers)
        let paging = try call.query { Paging(&$0) }
        let users = try pool.withConnection {
            try UserStore.list(after: paging.after, limit: paging.limit + 1, in: $0)
        }
        return .response(paging.answer(users, key: \.name) { $0.user($1) })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let caller = try call.principal()
        let user = try pool.withConnection { try UserStore.find(call.path("user"), in: $0) }
        // Who may see others learns that there is none; anybody else is refused either way.
        try caller.require(.readAccount, .account(user?.id))
        guard let user else { throw APIError.userNotFound }
        return .response(Answer.data { $0.user(user) })
    }

    // MARK: - Changing

    @Sendable private func create(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.administerUsers)
        _ = try call.query { _ in }
        let values = try call.fields { Self.fields(&$0, isNew: true) }
        let user = try named {
            try pool.withTransaction { tx in
                let user = try UserStore.create(values, in: tx)
                try record("user.create", user, values, by: caller, in: tx)
                return user
            }
        }
        return .response(Answer.data(status: 201) { $0.user(user) })
    }

    @Sendable private func update(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.administerUsers)
        _ = try call.query { _ in }
        let values = try call.fields(isPatch: true) { Self.fields(&$0, isNew: false) }
        let user = try named {
            try change(call.path("user")) { user, tx in
                guard !values.isEmpty else { return user }
                let changed = try UserStore.update(user.id, values, in: tx)
                if changed.disabledAt != nil, user.disabledAt == nil { try UserStore.revokeTokens(of: user.id, in: tx) }
                try record("user.update", user, values, by: caller, in: tx)
                return changed
            }
        }
        return .response(Answer.data { $0.user(user) })
    }

    @Sendable private func remove(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.administerUsers)
        _ = try call.query { _ in }
        let user = try change(call.path("user")) { user, tx in
            let closed = try UserStore.disable(user.id, in: tx)
            if user.disabledAt == nil { try record("user.close", user, [], by: caller, in: tx) }
            return closed
        }
        return .response(Answer.data { $0.user(user) })
    }

    /// Changes an account, unless that would leave nobody who may change anything.
    private func change(_ text: String, _ body: (UserRecord, Connection) throws -> UserRecord) throws -> UserRecord {
        defer { authenticator.forget() }
        return try pool.withTransaction { tx in
            let before = try UserStore.countAdmins(in: tx)
            guard let user = try UserStore.find(text, in: tx) else { throw APIError.userNotFound }
            let changed = try body(user, tx)
            if before > 0, try UserStore.countAdmins(in: tx) == 0 {
                throw APIError.conflict(
                    "LAST_ADMIN",
                    "this is the last administrator; make another one first, as bgagent user set USER --role admin does"
                )
            }
            return changed
        }
    }

    private func named<Value>(_ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let error as PostgresError where error.isUniqueViolation(of: "users_name_key") {
            throw APIError.conflict("USER_ALREADY_EXISTS", "there is a user of that name already")
        }
    }

    private func record(
        _ action: String, _ user: UserRecord, _ values: [ColumnValue], by caller: Principal, in tx: Connection
    ) throws {
        let detail: JSONValue = ["name": .string(user.name), "fields": .array(values.map { .string($0.column) })]
        try AuditStore.record(action, on: user.id.rawValue, by: caller.userID, detail, in: tx)
    }

    private static func fields(_ fields: inout FieldReader, isNew: Bool) -> [ColumnValue] {
        var values: [ColumnValue] = []
        func add<Value: PostgresEncodable>(_ column: String, _ change: Change<Value>) {
            switch change {
            case .keep: break
            case .clear: values.append(ColumnValue(column, "DEFAULT"))
            case .set(let value): values.append(ColumnValue(column, "\(value)"))
            }
        }
        let form = "1 to 63 lower-case letters, digits, '.', '_' and '-', and begins with a letter or digit"
        let name = fields.text(
            "name", "how the person is called here", length: 1...63, isRequired: isNew, form: form, where: isName)
        if case .clear = name { fields.reject("name must not be null") } else { add("name", name) }
        add(
            "email",
            fields.text("email", "where mail goes", length: 3...254, form: "an address", where: isAddress))
        add("role", fields.choice("role", "what the account may do", as: UserRole.self))
        add("max_concurrent", fields.integer("max_concurrent", "tasks at work at once", in: 1...1000))
        add("notifications", fields.notifications("how the person hears of their tasks"))
        if !isNew, case .set(let isDisabled) = fields.boolean("disabled", "whether the account is closed") {
            let moment: Query = isDisabled ? "coalesce(disabled_at, clock_timestamp())" : "NULL"
            values.append(ColumnValue("disabled_at", moment))
        }
        return values
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, (97...122).contains(first) || (48...57).contains(first) else { return false }
        return text.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (48...57).contains(byte) || byte == 45 || byte == 46 || byte == 95
        }
    }

    /// Something on both sides of one @ and nothing that a mail header could trip over; the mail server knows the rest.
    private static func isAddress(_ text: String) -> Bool {
        let sides = text.split(separator: "@", omittingEmptySubsequences: false)
        return sides.count == 2 && sides.allSatisfy { !$0.isEmpty }
            && text.unicodeScalars.allSatisfy {
                $0.value > 0x20 && $0.value != 0x7F && !"<>,;\"".unicodeScalars.contains($0)
            }
    }
}

extension JSONWriter {
    mutating func user(_ user: UserRecord) {
        object { writer in
            writer.member("user_id", user.id.rawValue)
            writer.member("name", user.name)
            writer.member("email", user.email)
            writer.member("role", user.role.rawValue)
            writer.member("max_concurrent", user.maxConcurrent)
            writer.member("notifications", json: user.notifications)
            writer.member("password", user.password.rawValue)
            writer.member("created_at", user.createdAt)
            writer.member("disabled_at", user.disabledAt)
        }
    }
}
