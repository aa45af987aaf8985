import Domain
import FoundationEssentials

/// The verbs that set the program itself up.
package enum SetupCommands {
    @Sendable package static func completion(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        surroundings.console.printText(Completion.script(try invocation.required("SHELL")))
        return .success
    }

    /// Saves address and token. The token is asked for without echo, or read from a file or a pipe, so that it stands
    /// neither in the process list nor in a shell's history. Nothing is saved that the gateway refuses.
    @Sendable package static func configure(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let folder = try SettingsFolder(environment: surroundings.environment)
        var profiles = try Profiles(folder: folder)
        let name = Account.profileName(invocation, environment: surroundings.environment, profiles: profiles)
        guard !name.isEmpty, Text.visible(name) == name else {
            throw UserError("'\(Text.visible(name))' is no profile's name")
        }
        var profile = profiles[name]
        if let url = invocation.text("api-url") { profile.apiURL = try Account.address(url) }
        guard let address = profile.apiURL else {
            throw UserError("which gateway?", "bgagent configure --api-url URL, as http://127.0.0.1:8080")
        }
        if let token = try token(invocation, surroundings, address: address, hasOne: profile.token != nil) {
            profile.token = token
        }
        guard let token = profile.token else {
            throw UserError(
                "no API token was given",
                "--token-file FILE reads one; the gateway's first start writes it and prints its path.")
        }
        if let file = invocation.text("ca-file") { profile.caFile = try Account.authority(file) }
        let account = Account(
            profile: name, apiURL: address, token: token,
            caFile: try profile.caFile
                ?? surroundings.environment["BGAGENT_CA_FILE"].flatMap {
                    $0.isEmpty ? nil : try Account.authority($0)
                })
        let me = try await check(account, invocation, surroundings)
        profiles[name] = profile
        if invocation.has("default") || profiles.names == [name] { profiles.defaultName = name }
        try profiles.save(to: folder)
        report(account, me, folder, invocation, surroundings.console)
        return .success
    }

    // MARK: - Pieces

    private static func token(
        _ invocation: Invocation, _ surroundings: Surroundings, address: String, hasOne: Bool
    ) throws -> String? {
        if let path = invocation.text("token-file") {
            guard !invocation.has("token") else { throw UserError("the token is given twice", "Keep --token-file.") }
            guard let data = try? Data(contentsOf: URL(filePath: path)) else {
                throw UserError("cannot read '\(Text.visible(path))'", "--token-file FILE holds the API token.")
            }
            return try Account.checked(String(decoding: data, as: UTF8.self))
        }
        if let text = invocation.text("token"), text != "-" {
            surroundings.console.note(
                "warning: other users of this machine can see arguments; --token-file or a pipe hides the token")
            return try Account.checked(text)
        }
        if surroundings.input.isTerminal, !invocation.has("token") {
            let hint = hasOne ? " (Enter keeps the saved one)" : ""
            let typed = try surroundings.input.askSecret("API token for \(address)\(hint): ")
            return try typed.flatMap { $0.isEmpty ? nil : try Account.checked($0) }
        }
        let piped = String(decoding: surroundings.input.readAll(65_536) ?? [], as: UTF8.self)
        let line = piped.split(whereSeparator: \.isNewline).first.map(String.init)
        return try line.map { try Account.checked($0) }
    }

    /// Asks the gateway who the token belongs to.
    /// - Returns: nil when it was not asked or does not answer: the address may be right and the gateway down.
    private static func check(
        _ account: Account, _ invocation: Invocation, _ surroundings: Surroundings
    ) async throws -> JSONValue? {
        if invocation.has("no-check") { return nil }
        let client = APIClient(
            account: account, transport: surroundings.transport, pace: surroundings.pace,
            console: surroundings.console, patience: .seconds(2), isVerbose: invocation.has("verbose"))
        do {
            return try await client.call("GET", "/me", timeout: .seconds(10)).data
        } catch let error as TransportError {
            surroundings.console.note("warning: \(account.apiURL) does not answer (\(Text.visible(error.reason)))")
            return nil
        } catch let error as APIError where error.status == 401 {
            throw UserError("the gateway does not accept this token; nothing is saved", "bgagent token add makes one.")
        } catch let error as APIError where error.status >= 500 || error.status == 429 {
            surroundings.console.note("warning: the gateway cannot say who you are now: \(error.line)")
            return nil
        } catch let error as APIError {
            throw UserError(
                "\(error.line); nothing is saved", "Is \(account.apiURL) the gateway? --no-check saves without asking.")
        }
    }

    private static func report(
        _ account: Account, _ me: JSONValue?, _ folder: SettingsFolder, _ invocation: Invocation, _ console: Console
    ) {
        if account.isExposed {
            console.note("warning: \(account.apiURL) sends the token unencrypted; use https outside a trusted network")
        }
        if invocation.wantsJSON {
            console.print(
                JSONValue.members([
                    "profile": .string(account.profile), "api_url": .string(account.apiURL), "user": me,
                ]).encoded(pretty: true))
            return
        }
        let who = me.flatMap { me in me.text("name").map { "\($0) (\(me.text("role") ?? "no role"))" } }
        console.print("Saved profile '\(account.profile)' for \(account.apiURL) in \(Text.visible(folder.path))")
        if let who { console.print("You are \(Text.visible(who)).") }
    }
}
