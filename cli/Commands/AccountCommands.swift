import Domain
import HTTPTypes

/// The verbs about the account of the caller and about API tokens.
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
        AccountPage.list(
            tokens, invocation, surroundings.console,
            columns: [
                ("TOKEN-ID", "token_id"), ("KIND", "kind"), ("CREATED", "created_at"), ("EXPIRES", "expires_at"),
                ("REVOKED", "revoked_at"), ("NAME", "name"),
            ], empty: "No tokens.")
        return .success
    }

    @Sendable package static func revokeToken(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let answer = try await surroundings.client(for: invocation).call(
            "DELETE", "/tokens/\(try encoded("TOKEN-ID", invocation))")
        AccountPage.done(answer.data, "The token is worthless from now on.", invocation, surroundings.console)
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
}
