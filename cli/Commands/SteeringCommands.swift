import Domain
import HTTPTypes

/// The verbs that tell a running agent something and answer what it asks.
package enum SteeringCommands {
    // MARK: - nudge

    @Sendable package static func nudge(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let message = try TaskCommands.text(invocation, surroundings.input)
        var body: [String: JSONValue] = ["message": .string(message)]
        if let mode = invocation.text("mode") { body["mode"] = .string(mode) }
        let made = try await surroundings.client(for: invocation).call(
            "POST", "/tasks/\(task)/nudge", body: .object(body), headers: TaskCommands.screening(invocation)
        ).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(made.encoded(pretty: true))
        } else {
            console.print("Nudge \(Text.visible(made.text("nudge_id") ?? "")) is kept for the agent.")
            console.print("See how far it has come: bgagent nudges \(task)")
        }
        return .success
    }

    @Sendable package static func nudges(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let found = try await surroundings.client(for: invocation).call("GET", "/tasks/\(task)/nudges").data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
            return .success
        }
        var table = Table(["NUDGE", "STATE", "MODE", "FROM", "MESSAGE"], flexible: 4)
        for nudge in found.array ?? [] {
            let turn = nudge.whole("turn").map { ", turn \($0)" } ?? ""
            table.add([
                Table.Cell(nudge.text("nudge_id") ?? ""), Table.Cell((nudge.text("state") ?? "") + turn),
                Table.Cell(nudge.text("mode") ?? ""), Table.Cell(nudge.text("user_name") ?? ""),
                Table.Cell(nudge.text("message") ?? ""),
            ])
        }
        guard !table.isEmpty else {
            console.note("Nobody has told this agent anything.")
            return .success
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        return .success
    }

    @Sendable package static func withdraw(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let nudge = try invocation.required("NUDGE")
        let left = try await surroundings.client(for: invocation).call(
            "DELETE", "/tasks/\(task)/nudges/\(Percent.encode(nudge))"
        ).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(left.encoded(pretty: true))
        } else {
            console.print("Nudge \(Text.visible(nudge)) is withdrawn; the agent will not hear it.")
        }
        return .success
    }

    // MARK: - pending, answer

    @Sendable package static func pending(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let query = invocation.text("task").map { [("task", $0)] } ?? []
        let found = try await surroundings.client(for: invocation).call("GET", "/pending", query: query).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
            return .success
        }
        let waiting = found.array ?? []
        guard !waiting.isEmpty else {
            console.note("Nothing waits for you.")
            return .success
        }
        for item in waiting where item.text("kind") == "approval" {
            for line in ApprovalCommands.lines(item) { console.print(line) }
        }
        for item in waiting where item.text("kind") == "question" {
            let task = Text.visible(item.text("task_id") ?? "")
            console.print("\(task)  \(Text.visible(item.text("repo") ?? ""))  asks:")
            console.print("  " + Text.visible(item.text("text") ?? ""))
            for option in item.member("options")?.array ?? [] {
                console.print("    - " + Text.visible(option.string ?? ""))
            }
            let wait = item.text("expires_at").map { "until \(Text.visible($0))" } ?? "its task waits for it"
            console.print("  \(wait): bgagent answer \(task) \"…\"")
        }
        return .success
    }

    @Sendable package static func answer(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let text = try TaskCommands.text(invocation, surroundings.input)
        let client = try surroundings.client(for: invocation)
        let question = try await question(of: task, invocation, client)
        let closed = try await client.call(
            "POST", "/tasks/\(task)/questions/\(Percent.encode(question))", body: ["answer": .string(text)],
            headers: TaskCommands.screening(invocation)
        ).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(closed.encoded(pretty: true))
        } else {
            console.print("The agent hears: \(Text.visible(closed.text("answer") ?? text))")
        }
        return .success
    }

    /// The one that is named, or the only one that is open.
    private static func question(
        of task: TaskID, _ invocation: Invocation, _ client: APIClient
    ) async throws -> String {
        if let named = invocation.text("question") { return named }
        let found = try await client.call("GET", "/pending", query: [("task", task.rawValue)]).data.array ?? []
        let open = found.filter { $0.text("kind") == "question" }.compactMap { $0.text("id") }
        guard let only = open.first else {
            throw UserError("this task's agent asks nothing now", "bgagent pending shows what waits for you.")
        }
        guard open.count == 1 else {
            throw UserError(
                "the agent asks \(open.count) things", "Say which with --question: \(open.joined(separator: ", "))")
        }
        return only
    }
}
