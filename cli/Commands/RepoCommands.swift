import Domain
import FoundationEssentials
import HTTPTypes

/// The verbs about repositories.
package enum RepoCommands {
    @Sendable package static func add(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        let repo = try name(invocation)
        var members = try RepoSettings(invocation).members
        members["repo"] = .string(repo.rawValue)
        let client = try surroundings.client(for: invocation)
        var added = try await client.call("POST", "/repos", body: .object(members)).data
        let console = surroundings.console
        var check: JSONValue?
        if case .answered(let answer) = try await RepoCheckCommand.ask(repo, client, surroundings.pace) {
            check = answer
        }
        let isReady = check?.text("state") == "passed"
        if invocation.has("require-access"), !isReady {
            _ = try await client.call("DELETE", path(repo))
            for line in check.map({ RepoCheckCommand.lines($0, style: console.style) }) ?? [] { console.note(line) }
            throw UserError(
                "\(repo) is not added: its credential did not pass every check",
                check == nil ? RepoCheckCommand.unanswered(repo).remedy : "Mend what failed, and add it again.")
        }
        if case .object(var object) = added {
            object["check"] = check ?? .null
            if invocation.wantsJSON { added = .object(object) }
        }
        report(added, invocation, console, text: "Repository \(repo) takes tasks now.")
        if !invocation.wantsJSON { tell(check, of: repo, console) }
        return .success
    }

    /// What the check of a fresh repository found; adding it has succeeded either way.
    private static func tell(_ check: JSONValue?, of repo: RepoName, _ console: Console) {
        guard let check else {
            let missed = RepoCheckCommand.unanswered(repo)
            console.note("warning: \(missed.detail). \(missed.remedy ?? "")")
            return
        }
        for line in RepoCheckCommand.lines(check, style: console.style) { console.print(line) }
        if check.text("state") != "passed" {
            console.note(
                "warning: it is added, and its tasks will fail until that is mended: bgagent repo check \(repo)")
        }
    }

    @Sendable package static func set(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        let repo = try name(invocation)
        let members = try RepoSettings(invocation).members
        guard !members.isEmpty else {
            throw UserError("nothing to change", "bgagent help repo set lists what can be.")
        }
        let client = try surroundings.client(for: invocation)
        let answer = try await client.call("PATCH", path(repo), body: .object(members))
        report(
            answer.data, invocation, surroundings.console, text: "Repository \(repo) is changed, from the next task on."
        )
        return .success
    }

    @Sendable package static func show(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let repo = try name(invocation)
        let answer = try await surroundings.client(for: invocation).call("GET", path(repo))
        report(answer.data, invocation, surroundings.console, text: nil)
        return .success
    }

    @Sendable package static func remove(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let repo = try name(invocation)
        let answer = try await surroundings.client(for: invocation).call("DELETE", path(repo))
        if invocation.wantsJSON {
            surroundings.console.print(answer.data.encoded(pretty: true))
        } else {
            surroundings.console.print(
                "Repository \(repo) takes no new tasks. bgagent repo add \(repo) brings it back.")
        }
        return .success
    }

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let console = surroundings.console
        let repos = try await Pages.all("/repos", try surroundings.client(for: invocation))
        if invocation.wantsJSON {
            console.print(JSONValue.array(repos).encoded(pretty: true))
            return .success
        }
        guard !repos.isEmpty else {
            console.note("No repositories yet. An admin adds one: bgagent repo add OWNER/NAME")
            return .success
        }
        var table = Table(["REPOSITORY", "MODEL", "TURNS", "BUDGET", "CHECKS"], flexible: 4)
        for repo in repos {
            let checks = ["build_command", "test_command"].compactMap { repo.text($0) }.joined(separator: " && ")
            table.add([
                .init(repo.text("repo") ?? "–"), .init(repo.text("model") ?? "–"),
                .init(repo.whole("max_turns").map(String.init) ?? "–"),
                .init(Amount.dollars(repo.amount("max_budget_usd"))), .init(checks.isEmpty ? "–" : checks),
            ])
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        return .success
    }

    // MARK: - Pieces

    private static func name(_ invocation: Invocation) throws -> RepoName {
        try Submission.repository(try invocation.required("OWNER/NAME"))
    }

    private static func path(_ repo: RepoName) -> String {
        "/repos/\(Percent.encode(repo.owner))/\(Percent.encode(repo.name))"
    }

    private static func report(_ repo: JSONValue, _ invocation: Invocation, _ console: Console, text: String?) {
        if invocation.wantsJSON {
            console.print(repo.encoded(pretty: true))
            return
        }
        if let text { console.print(text) }
        for line in ObjectPage.lines(repo, style: console.style) { console.print(line) }
    }
}

/// The members of a repository's body, made from options. Pure but for options that read a file.
package struct RepoSettings: Sendable {
    package private(set) var members: [String: JSONValue] = [:]

    private static let texts = [
        "model": "model", "setup-command": "setup_command", "build-command": "build_command",
        "test-command": "test_command", "lint-command": "lint_command", "default-branch": "default_branch",
        "credential-ref": "credential_ref", "access": "access", "unanswered-question": "unanswered_question",
    ]
    private static let others = [
        "max-turns": "max_turns", "max-budget": "max_budget_usd", "max-duration": "max_duration_s",
        "max-concurrent": "max_concurrent", "allow-ci-changes": "allow_ci_changes", "allow-secrets": "allow_secrets",
        "approval-gates": "approval_gates", "policies": "policies", "approvers": "approvers",
        "second-person": "second_person", "gate-cap": "approval_gate_cap", "approval-timeout": "approval_timeout_s",
        "system-prompt": "system_prompt_overrides", "notify": "notifications",
    ]

    package init(_ invocation: Invocation) throws {
        for (option, member) in Self.texts {
            if let text = invocation.text(option) { members[member] = .string(text) }
        }
        for option in ["max-turns", "max-concurrent", "gate-cap"] {
            if let number = invocation.whole(option) { members[Self.member(option)] = .integer(Int64(number)) }
        }
        if let amount = invocation.money("max-budget") { members["max_budget_usd"] = .number(amount) }
        if let seconds = invocation.seconds("max-duration") { members["max_duration_s"] = .integer(Int64(seconds)) }
        if let seconds = invocation.seconds("approval-timeout") {
            members["approval_timeout_s"] = .integer(Int64(seconds))
        }
        for option in ["allow-ci-changes", "allow-secrets", "approval-gates", "second-person"] {
            if let truth = invocation.truth(option) { members[Self.member(option)] = .bool(truth) }
        }
        if let text = invocation.text("system-prompt") {
            members["system_prompt_overrides"] = .string(try Self.fileOrText(text, "system-prompt"))
        }
        if let text = invocation.text("policies") {
            members["policies"] = .string(try Self.fileOrText(text, "policies"))
        }
        if let names = invocation.text("approvers") {
            members["approvers"] = .array(names.split(separator: ",").map { .string(String($0)) })
        }
        let channels = try Self.channels(invocation)
        if !channels.isEmpty { members["notifications"] = .object(channels) }
        for option in invocation.list("unset") {
            let bare = option.hasPrefix("--") ? String(option.dropFirst(2)) : option
            guard Self.texts[bare] != nil || Self.others[bare] != nil else {
                let known = Array(Self.texts.keys) + Array(Self.others.keys)
                let nearest = Suggestion.nearest(to: bare, among: known.sorted())
                throw UserError(
                    "--unset takes the name of an option, not '\(Text.visible(option))'",
                    nearest.map { "Did you mean '\($0)'?" } ?? "As --unset model")
            }
            guard members[Self.member(bare)] == nil else {
                throw UserError("--\(bare) is set and unset at once", "Keep one of them.")
            }
            members[Self.member(bare)] = .null
        }
    }

    private static func member(_ option: String) -> String { texts[option] ?? others[option] ?? option }

    /// The text, or what a file holds.
    static func fileOrText(_ text: String, _ option: String) throws -> String {
        guard text.hasPrefix("@") else { return text }
        let path = String(text.dropFirst())
        guard let data = try? Data(contentsOf: URL(filePath: path)), let words = String(data: data, encoding: .utf8)
        else {
            throw UserError("cannot read '\(Text.visible(path))' as text", "--\(option) @FILE reads a file.")
        }
        return words
    }

    /// `slack=#builds`, `email=off` and `slack=default,agent_milestone` as the API's notifications.
    private static func channels(_ invocation: Invocation) throws -> [String: JSONValue] {
        var channels: [String: [String: JSONValue]] = [:]
        for option in ["notify", "notify-events"] {
            for text in invocation.list(option) {
                let sides = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard sides.count == 2 else {
                    throw UserError("--\(option) takes CHANNEL=…, not '\(Text.visible(text))'", "As slack=#builds")
                }
                if option == "notify-events" {
                    let events = sides[1].split(separator: ",").map { JSONValue.string(String($0)) }
                    channels[sides[0], default: [:]]["events"] = .array(events)
                } else {
                    channels[sides[0], default: [:]]["enabled"] = .bool(sides[1] != "off")
                    if sides[1] != "on", sides[1] != "off" {
                        channels[sides[0], default: [:]]["channel"] = .string(sides[1])
                    }
                }
            }
        }
        return channels.mapValues { .object($0) }
    }
}
