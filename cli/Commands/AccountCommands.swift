import Domain
import HTTPTypes

/// The verbs about users and their API tokens.
package enum AccountCommands {
    @Sendable package static func whoami(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let me = try await client.call("GET", "/me").data
        if invocation.wantsJSON {
            surroundings.console.print(me.encoded(pretty: true))
        } else {
            var fields = Fields()
            fields.add("Gateway", client.account.apiURL)
            fields.add("Profile", client.account.profile)
            let lines = fields.lines(style: surroundings.console.style)
            for line in lines + ObjectPage.lines(me, style: surroundings.console.style) {
                surroundings.console.print(line)
            }
        }
        return .success
    }

    // MARK: - Users

    @Sendable package static func addUser(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let body = JSONValue.members([
            "name": .string(try invocation.required("NAME")), "email": invocation.text("email").map { .string($0) },
            "role": .string(invocation.text("role") ?? "member"),
        ])
        let user = try await surroundings.client(for: invocation).call("POST", "/users", body: body).data
        show(user, invocation, surroundings.console)
        if !invocation.wantsJSON, let id = user.text("user_id") {
            surroundings.console.print("Next: bgagent token add \(Text.visible(id)) --name NAME")
        }
        return .success
    }

    @Sendable package static func listUsers(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let users = try await Pages.all("/users", try surroundings.client(for: invocation))
        list(
            users, invocation, surroundings.console,
            columns: [("USER", "user_id"), ("ROLE", "role"), ("NAME", "name"), ("EMAIL", "email")], empty: "No users.")
        return .success
    }

    @Sendable package static func setUser(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let changes = ["name", "email", "role"].reduce(into: [String: JSONValue]()) { all, key in
            if let text = invocation.text(key) { all[key] = .string(text) }
        }
        guard !changes.isEmpty else { throw UserError("nothing to change", "bgagent help user set lists what can be.") }
        let user = try await surroundings.client(for: invocation).call(
            "PATCH", "/users/\(try encoded("USER", invocation))", body: .object(changes))
        show(user.data, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func removeUser(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let answer = try await surroundings.client(for: invocation).call(
            "DELETE", "/users/\(try encoded("USER", invocation))")
        done(answer.data, "The account is closed and its tokens are worthless.", invocation, surroundings.console)
        return .success
    }

    // MARK: - Tokens

    /// The token alone goes to stdout, so that it can be put into a file; everything said about it to stderr.
    @Sendable package static func addToken(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let body = JSONValue.members([
            "name": .string(invocation.text("name") ?? "cli"),
            "expires_in_s": invocation.seconds("expires-in").map { .integer(Int64($0)) },
        ])
        let user = try await userPath(invocation, client)
        let token = try await client.call("POST", "\(user)/tokens", body: body).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(token.encoded(pretty: true))
        } else {
            console.print(Text.visible(token.text("token") ?? ""))
            let id = token.text("token_id").map { " Revoke it with: bgagent token revoke \(Text.visible($0))" } ?? ""
            console.note("This is the only time the token is shown.\(id)")
        }
        return .success
    }

    @Sendable package static func listTokens(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let tokens = try await Pages.all("\(try await userPath(invocation, client))/tokens", client)
        list(
            tokens, invocation, surroundings.console,
            columns: [
                ("TOKEN-ID", "token_id"), ("NAME", "name"), ("CREATED", "created_at"), ("EXPIRES", "expires_at"),
                ("REVOKED", "revoked_at"), ("LAST USED", "last_used_at"),
            ], empty: "No tokens.")
        return .success
    }

    @Sendable package static func revokeToken(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let answer = try await surroundings.client(for: invocation).call(
            "DELETE", "/tokens/\(try encoded("TOKEN-ID", invocation))")
        done(answer.data, "The token is worthless from now on.", invocation, surroundings.console)
        return .success
    }

    // MARK: - Pieces

    private static func encoded(_ argument: String, _ invocation: Invocation) throws -> String {
        Percent.encode(try invocation.required(argument))
    }

    /// The named user, or the one whose token this is.
    private static func userPath(_ invocation: Invocation, _ client: APIClient) async throws -> String {
        if let user = invocation.argument("USER") { return "/users/\(Percent.encode(user))" }
        guard let user = try await client.call("GET", "/me").data.text("user_id") else {
            throw UserError("the gateway does not say who you are", "Name the user: bgagent user list")
        }
        return "/users/\(Percent.encode(user))"
    }

    private static func show(_ value: JSONValue, _ invocation: Invocation, _ console: Console) {
        if invocation.wantsJSON {
            console.print(value.encoded(pretty: true))
        } else {
            for line in ObjectPage.lines(value, style: console.style) { console.print(line) }
        }
    }

    private static func done(_ value: JSONValue, _ text: String, _ invocation: Invocation, _ console: Console) {
        console.print(invocation.wantsJSON ? value.encoded(pretty: true) : text)
    }

    private static func list(
        _ rows: [JSONValue], _ invocation: Invocation, _ console: Console, columns: [(title: String, key: String)],
        empty: String
    ) {
        if invocation.wantsJSON {
            console.print(JSONValue.array(rows).encoded(pretty: true))
            return
        }
        guard !rows.isEmpty else {
            console.note(empty)
            return
        }
        var table = Table(columns.map(\.title), flexible: columns.count - 1)
        for row in rows { table.add(columns.map { .init(row.member($0.key)?.plain ?? "–") }) }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
    }
}
