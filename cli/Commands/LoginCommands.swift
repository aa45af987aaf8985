import Domain
import FoundationEssentials

/// The verbs that come in with a password, go out, and change it.
package enum LoginCommands {
    /// Logs in and saves the short token in the profile, where `configure` saves an API token.
    @Sendable package static func login(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let (folder, environment) = (
            try SettingsFolder(environment: surroundings.environment), surroundings.environment
        )
        var profiles = try Profiles(folder: folder)
        let name = Account.profileName(invocation, environment: environment, profiles: profiles)
        var profile = profiles[name]
        let given = invocation.text("api-url") ?? environment["BGAGENT_API_URL"].flatMap { $0.isEmpty ? nil : $0 }
        guard let address = try (given ?? profile.apiURL).map({ try Account.address($0) }) else {
            throw UserError("which gateway?", "bgagent login NAME --api-url URL, as http://127.0.0.1:8080")
        }
        guard let user = invocation.argument("NAME") ?? profile.user else {
            throw UserError("who logs in?", "bgagent login NAME")
        }
        let account = Account(profile: name, apiURL: address, token: "")
        if account.isExposed {
            surroundings.console.note(
                "warning: \(address) takes the password unencrypted; use https outside a trusted network")
        }
        let passwords = try Passwords(invocation, surroundings)
        let client = client(account, invocation, surroundings)
        let answer = try await enter(client, user, passwords)
        guard let token = answer.text("token") else {
            throw UserError("the gateway gave no token", "Is \(address) the gateway?")
        }
        profile.apiURL = address
        profile.token = try Account.checked(token)
        profile.user = user
        profiles[name] = profile
        if invocation.has("default") || profiles.names == [name] { profiles.defaultName = name }
        try profiles.save(to: folder)
        report(answer, account, folder, invocation, surroundings)
        return .success
    }

    /// Ends the login at the gateway and forgets the saved token.
    @Sendable package static func logout(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        var words = "Logged out."
        do {
            _ = try await client.call("POST", "/logout", isRepeatable: true)
        } catch let error as APIError where error.status == 401 {
            words = "The login had ended already."
        } catch let error as APIError where error.code == "NOT_A_LOGIN" {
            words = "Forgot the API token here. It stays good until: bgagent token revoke TOKEN-ID"
        }
        if !isFromEnvironment(surroundings) {
            let folder = try SettingsFolder(environment: surroundings.environment)
            var profiles = try Profiles(folder: folder)
            profiles[client.account.profile].token = nil
            try profiles.save(to: folder)
        } else {
            console.note("BGAGENT_TOKEN is set here and stands above what is saved; unset it.")
        }
        console.print(
            invocation.wantsJSON
                ? JSONValue.object(["profile": .string(client.account.profile)]).encoded(pretty: true) : words)
        return .success
    }

    /// Changes the password; the login goes on with a new token.
    @Sendable package static func changePassword(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let passwords = try Passwords(invocation, surroundings)
        let body: JSONValue = [
            "password": .string(try passwords.current("Password until now: ")),
            "new_password": .string(try passwords.fresh()),
        ]
        let answer: JSONValue
        do {
            answer = try await client.call("POST", "/me/password", body: body).data
        } catch let error as APIError where error.code == "NO_PASSWORD" {
            throw UserError(error.line, "An admin gives the first one: bgagent user password USER")
        }
        if let token = answer.text("token") {
            if isFromEnvironment(surroundings) {
                surroundings.console.note(
                    "The login in BGAGENT_TOKEN has ended with the old password: bgagent login NAME")
            } else {
                let folder = try SettingsFolder(environment: surroundings.environment)
                var profiles = try Profiles(folder: folder)
                profiles[client.account.profile].token = try Account.checked(token)
                try profiles.save(to: folder)
            }
        }
        surroundings.console.print(
            invocation.wantsJSON
                ? shown(answer).encoded(pretty: true) : "The password is changed; every other login of yours has ended."
        )
        return .success
    }

    // MARK: - Pieces

    /// Logs in; a one-time password is replaced on the way.
    private static func enter(_ client: APIClient, _ user: String, _ passwords: Passwords) async throws -> JSONValue {
        var body: [String: JSONValue] = [
            "name": .string(user), "password": .string(try passwords.current("Password of \(Text.visible(user)): ")),
        ]
        if let fresh = passwords.given { body["new_password"] = .string(fresh) }
        do {
            do {
                return try await client.call("POST", "/login", body: .object(body)).data
            } catch let error as APIError where error.code == "PASSWORD_CHANGE_REQUIRED" && passwords.given == nil {
                passwords.note("This password opens one login. Choose your own.")
                body["new_password"] = .string(try passwords.fresh())
                return try await client.call("POST", "/login", body: .object(body)).data
            }
        } catch let error as APIError where error.code == "LOGIN_REFUSED" {
            throw UserError(error.line, "Try again, or ask an admin for a new password: bgagent user password NAME")
        }
    }

    private static func client(
        _ account: Account, _ invocation: Invocation, _ surroundings: Surroundings
    ) -> APIClient {
        APIClient(
            account: account, transport: surroundings.transport, pace: surroundings.pace,
            console: surroundings.console, patience: APIClient.briefPatience, isVerbose: invocation.has("verbose"))
    }

    private static func isFromEnvironment(_ surroundings: Surroundings) -> Bool {
        surroundings.environment["BGAGENT_TOKEN"].map { !$0.isEmpty } ?? false
    }

    /// The answer without its token, which is saved and not for eyes.
    private static func shown(_ answer: JSONValue) -> JSONValue {
        .object((answer.object ?? [:]).filter { $0.key != "token" })
    }

    private static func report(
        _ answer: JSONValue, _ account: Account, _ folder: SettingsFolder, _ invocation: Invocation,
        _ surroundings: Surroundings
    ) {
        let console = surroundings.console
        if isFromEnvironment(surroundings) {
            console.note("warning: BGAGENT_TOKEN is set here and stands above this login; unset it.")
        }
        if invocation.wantsJSON {
            console.print(shown(answer).encoded(pretty: true))
            return
        }
        let end = answer.text("expires_at").map { " until \($0)" } ?? ""
        console.print(
            Text.visible("Logged in as \(answer.text("name") ?? "?") (\(answer.text("role") ?? "no role"))\(end)."))
        console.print("Saved in profile '\(account.profile)' for \(account.apiURL) in \(Text.visible(folder.path))")
    }
}

/// Passwords from a terminal without echo, from files, or, without a file, from the lines of a pipe: never from arguments,
/// which others can see.
struct Passwords {
    private let surroundings: Surroundings
    private let old: String?
    /// The new password, when one came along without being asked for.
    let given: String?

    init(_ invocation: Invocation, _ surroundings: Surroundings) throws {
        self.surroundings = surroundings
        var lines: [String] = []
        let file = try invocation.text("password-file").map { try Self.line(of: $0) }
        // Beside a file nothing else is read: a pipe that nobody closes would be waited for.
        if !surroundings.input.isTerminal, file == nil {
            let piped = String(decoding: surroundings.input.readAll(65_536) ?? [], as: UTF8.self)
            lines = piped.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
        }
        if file == nil, !lines.isEmpty { old = lines.removeFirst() } else { old = file }
        given =
            try invocation.text("new-password-file").map { try Self.line(of: $0) }
            ?? lines.first.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The password as it is now.
    func current(_ prompt: String) throws -> String {
        if let old, !old.isEmpty { return old }
        guard surroundings.input.isTerminal, old == nil, let typed = try surroundings.input.askSecret(prompt),
            !typed.isEmpty
        else {
            throw UserError("no password was given", "--password-file FILE reads one, and so does a pipe.")
        }
        return typed
    }

    /// The password to have from now on; typed twice, because nobody sees it.
    func fresh() throws -> String {
        if let given { return given }
        guard surroundings.input.isTerminal, let first = try surroundings.input.askSecret("New password: "),
            !first.isEmpty
        else {
            throw UserError(
                "no new password was given", "--new-password-file FILE reads one; a pipe holds it in its second line.")
        }
        guard try surroundings.input.askSecret("The same again: ") == first else {
            throw UserError("the two new passwords differ", "Nothing was changed. Try again.")
        }
        return first
    }

    func note(_ text: String) { surroundings.console.note(text) }

    private static func line(of path: String) throws -> String {
        guard let data = try? Data(contentsOf: URL(filePath: path)),
            let line = String(decoding: data, as: UTF8.self).split(
                omittingEmptySubsequences: false, whereSeparator: \.isNewline
            ).first
        else {
            throw UserError("cannot read '\(Text.visible(path))'", "The file holds the password in its first line.")
        }
        return String(line)
    }
}
