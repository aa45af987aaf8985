import Domain
import HTTPTypes

/// The verbs of whoever runs the installation: stop new work, let it go on, and see to what was given up.
package enum AdminCommands {
    private static let look = Duration.seconds(2)

    // MARK: - Pauses

    @Sendable package static func state(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let state = try await surroundings.client(for: invocation).call("GET", "/admin/state").data
        show(state, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func pause(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let state = try await paused(invocation, try surroundings.client(for: invocation))
        show(state, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func resume(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let state: JSONValue
        if let node = invocation.text("node") {
            state = try await client.call("POST", "/admin/nodes/\(Percent.encode(node))/resume").data
        } else {
            state = try await client.call("POST", "/admin/resume", body: try scope(invocation)).data
        }
        show(state, invocation, surroundings.console)
        return .success
    }

    @Sendable package static func drain(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        let node = invocation.text("node")
        var state: JSONValue
        if let node {
            state = try await client.call("POST", "/admin/nodes/\(Percent.encode(node))/drain").data
        } else {
            state = try await paused(invocation, client)
        }
        let began = surroundings.pace.uptime()
        var told = -1
        while !invocation.has("no-wait") {
            let count = atWork(state, node)
            guard count > 0 else { break }
            if count != told, !invocation.wantsJSON {
                console.note("\(count) \(count == 1 ? "task" : "tasks") still at work.")
                told = count
            }
            if let limit = invocation.seconds("max-wait"), surroundings.pace.uptime() - began >= .seconds(limit) {
                console.complain("\(count) still at work", advice: "It stays paused. bgagent admin state looks again.")
                return .stillRunning
            }
            try await surroundings.pace.pause(look)
            state = try await client.call("GET", "/admin/state").data
        }
        show(state, invocation, console)
        return .success
    }

    private static func atWork(_ state: JSONValue, _ node: String?) -> Int {
        guard let node else { return state.whole("tasks_at_work") ?? 0 }
        let found = state.member("nodes")?.array?.first { $0.text("node") == node }
        return found?.whole("running") ?? 0
    }

    private static func paused(_ invocation: Invocation, _ client: APIClient) async throws -> JSONValue {
        var body = try scope(invocation).object ?? [:]
        if let reason = invocation.text("reason") { body["reason"] = .string(reason) }
        return try await client.call("POST", "/admin/pause", body: .object(body), isRepeatable: true).data
    }

    private static func scope(_ invocation: Invocation) throws -> JSONValue {
        guard let repo = invocation.text("repo") else { return [:] }
        return ["repo": .string(try Submission.repository(repo).rawValue)]
    }

    private static func show(_ state: JSONValue, _ invocation: Invocation, _ console: Console) {
        guard !invocation.wantsJSON else { return console.print(state.encoded(pretty: true)) }
        var fields = Fields()
        let pauses = state.member("pauses")?.array ?? []
        fields.add("At work", "\(state.whole("tasks_at_work") ?? 0) tasks")
        fields.add("Paused", pauses.isEmpty ? "nothing" : pauses.map(words).joined(separator: ", "))
        for line in fields.lines(style: console.style) { console.print(line) }
        let nodes = state.member("nodes")?.array ?? []
        guard !nodes.isEmpty else { return console.note("No compute node has reported yet: nothing can start.") }
        var table = Table(["NODE", "BACKEND", "RUNNING", "CAPACITY", "DRAINING", "LAST SEEN"], flexible: 0)
        for node in nodes {
            table.add(
                ["node", "backend", "running", "capacity", "draining", "last_seen"].map {
                    .init(node.member($0)?.plain ?? "–")
                })
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
    }

    private static func words(_ pause: JSONValue) -> String {
        let scope = pause.text("scope") ?? "*"
        let place = scope == "*" ? "everything" : Text.visible(scope)
        return place + (pause.text("reason").map { " (\(Text.visible($0)))" } ?? "")
    }

    // MARK: - Dead letters

    @Sendable package static func listLetters(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        let filters = invocation.text("task").map { [("task_id", $0)] } ?? []
        let letters = try await Pages.all("/dead-letters", client, query: filters)
        if invocation.wantsJSON {
            console.print(JSONValue.array(letters).encoded(pretty: true))
            return .success
        }
        guard !letters.isEmpty else {
            console.note("Nothing was given up.")
            return .success
        }
        var table = Table(["ID", "KIND", "FROM", "TASK", "SINCE", "REASON"], flexible: 5)
        for letter in letters {
            table.add(
                ["dead_letter_id", "kind", "source", "task_id", "created_at", "reason"].map {
                    .init(letter.member($0)?.plain ?? "–")
                })
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        console.note("bgagent dlq show ID tells more; dlq replay ID --dry-run says what a replay would do.")
        return .success
    }

    @Sendable package static func showLetter(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let letter = try await surroundings.client(for: invocation).call("GET", try path(invocation)).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(letter.encoded(pretty: true))
        } else {
            for line in ObjectPage.lines(letter, style: console.style) { console.print(line) }
        }
        return .success
    }

    @Sendable package static func replayLetter(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        try await settle("replay", invocation, surroundings)
    }

    @Sendable package static func dropLetter(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        try await settle("drop", invocation, surroundings)
    }

    private static func settle(
        _ action: String, _ invocation: Invocation, _ surroundings: Surroundings
    ) async throws -> ExitCode {
        let isDry = invocation.has("dry-run")
        let done = try await surroundings.client(for: invocation).call(
            "POST", "\(try path(invocation))/\(action)", body: ["dry_run": .bool(isDry)]
        ).data
        if invocation.wantsJSON {
            surroundings.console.print(done.encoded(pretty: true))
        } else {
            let effect = Text.visible(done.text("effect") ?? "")
            surroundings.console.print(isDry ? "Would be done: \(effect)." : "Done: \(effect).")
        }
        return .success
    }

    private static func path(_ invocation: Invocation) throws -> String {
        "/dead-letters/\(Percent.encode(try invocation.required("ID")))"
    }
}
