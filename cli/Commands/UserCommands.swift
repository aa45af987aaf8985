import Domain
import HTTPTypes

/// The verbs about accounts.
package enum UserCommands {
    /// Makes the account and, unless told otherwise, a password that opens one login.
    @Sendable package static func add(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        let body = JSONValue.members([
            "name": .string(try invocation.required("NAME")), "email": invocation.text("email").map { .string($0) },
            "role": .string(invocation.text("role") ?? "member"),
            "max_concurrent": invocation.whole("max-concurrent").map { .integer(Int64($0)) },
        ])
        let client = try surroundings.client(for: invocation)
        var user = try await client.call("POST", "/users", body: body).data
        let console = surroundings.console
        let id = user.text("user_id") ?? user.text("name") ?? ""
        if !invocation.has("no-password") {
            do {
                let given = try await client.call("POST", "/users/\(Percent.encode(id))/password").data
                user = merged(user, given)
            } catch let error as APIError {
                console.note("The account is made, its password is not: \(error.line)")
                console.note("Next: bgagent user password \(Text.visible(id))")
            }
        }
        AccountPage.show(user, invocation, console)
        if !invocation.wantsJSON {
            if user.text("one_time_password") != nil {
                console.note("This is the only time the password is shown. It opens one login, which asks for another:")
                console.note("  bgagent login \(Text.visible(user.text("name") ?? ""))")
            }
            console.note("For programs: bgagent token add \(Text.visible(id)) --name NAME")
        }
        return .success
    }

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let users = try await Pages.all("/users", try surroundings.client(for: invocation))
        AccountPage.list(
            users, invocation, surroundings.console,
            columns: [
                ("USER", "user_id"), ("ROLE", "role"), ("PASSWORD", "password"), ("CLOSED", "disabled_at"),
                ("NAME", "name"),
                ("EMAIL", "email"),
            ], empty: "No users.")
        return .success
    }

    @Sendable package static func show(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let user = try await surroundings.client(for: invocation).call("GET", try path(invocation)).data
        AccountPage.show(user, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func set(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        var changes = ["name", "email", "role"].reduce(into: [String: JSONValue]()) { all, key in
            if let text = invocation.text(key) { all[key] = .string(text) }
        }
        if let count = invocation.whole("max-concurrent") { changes["max_concurrent"] = .integer(Int64(count)) }
        guard !changes.isEmpty else { throw UserError("nothing to change", "bgagent help user set lists what can be.") }
        let user = try await surroundings.client(for: invocation).call(
            "PATCH", try path(invocation), body: .object(changes))
        AccountPage.show(user.data, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func disable(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let answer = try await surroundings.client(for: invocation).call("DELETE", try path(invocation))
        AccountPage.done(
            answer.data, "The account is closed, its logins have ended and its tokens are worthless.", invocation,
            surroundings.console)
        return .success
    }

    @Sendable package static func enable(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let answer = try await surroundings.client(for: invocation).call(
            "PATCH", try path(invocation), body: ["disabled": false])
        AccountPage.done(
            answer.data, "The account is open again; its earlier tokens stay worthless.", invocation,
            surroundings.console)
        return .success
    }

    /// The password alone goes to stdout; everything said about it to stderr.
    @Sendable package static func password(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let given = try await client.call("POST", "\(try path(invocation))/password").data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(given.encoded(pretty: true))
            return .success
        }
        console.print(Text.visible(given.text("password") ?? ""))
        let end = given.text("expires_at").map { ", until \($0)" } ?? ""
        console.note(Text.visible("This is the only time the password is shown. It opens one login\(end)."))
        console.note("Every login of the account has ended. bgagent login asks for a password of their own.")
        return .success
    }

    private static func path(_ invocation: Invocation) throws -> String {
        "/users/\(Percent.encode(try invocation.required("USER")))"
    }

    private static func merged(_ user: JSONValue, _ given: JSONValue) -> JSONValue {
        var members = user.object ?? [:]
        members["password"] = "once"
        members["one_time_password"] = given["password"]
        members["one_time_password_expires_at"] = given["expires_at"]
        return .object(members)
    }
}

/// How the verbs about accounts and tokens show what came back.
enum AccountPage {
    static func show(_ value: JSONValue, _ invocation: Invocation, _ console: Console) {
        if invocation.wantsJSON {
            console.print(value.encoded(pretty: true))
        } else {
            for line in ObjectPage.lines(value, style: console.style) { console.print(line) }
        }
    }

    static func done(_ value: JSONValue, _ text: String, _ invocation: Invocation, _ console: Console) {
        console.print(invocation.wantsJSON ? value.encoded(pretty: true) : text)
    }

    static func list(
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
