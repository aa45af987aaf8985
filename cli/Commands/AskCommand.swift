import Domain
import HTTPTypes

/// Asking a running agent. The gateway keeps the question, so that whoever asked may stop waiting at any time.
package enum AskCommand {
    private static let look = Duration.milliseconds(500)

    @Sendable package static func ask(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        let task = try TaskCommands.taskID(invocation)
        let text = try TaskCommands.text(invocation, surroundings.input)
        var body: [String: JSONValue] = ["question": .string(text)]
        if let seconds = invocation.seconds("timeout") { body["timeout_s"] = JSONValue(seconds) }
        let client = try surroundings.client(for: invocation, patience: APIClient.longPatience)
        let console = surroundings.console
        var asked = try await client.call(
            "POST", "/tasks/\(task)/asks", body: .object(body), headers: TaskCommands.screening(invocation)
        ).data
        guard let id = asked.text("ask_id").flatMap(EventID.init)?.rawValue else {
            throw UserError("the gateway's answer names no question", "bgagent asks list \(task) shows what was asked.")
        }
        if invocation.has("no-wait") {
            console.print(invocation.wantsJSON ? asked.encoded(pretty: true) : id)
            return .success
        }
        console.onInterrupt(["The agent still has the question. Its answer: bgagent asks show \(task) \(id)"])
        let began = surroundings.pace.uptime()
        asked = try await console.whileSpinning {
            var found = asked
            while found.text("state") == AskState.open {
                let snapshot = try await client.call("GET", "/tasks/\(task)/status").data
                let age = surroundings.pace.uptime() - began
                console.spin(progress(snapshot, seconds: Int(age.components.seconds)))
                try await surroundings.pace.pause(look)
                found = try await client.call("GET", "/tasks/\(task)/asks/\(id)").data
            }
            return found
        }
        return conclude(asked, task, id, invocation, console)
    }

    private static func progress(_ snapshot: JSONValue, seconds: Int) -> String {
        var parts = [snapshot.text("status") ?? "asked"]
        if let tool = snapshot.text("current_tool") { parts.append("running \(tool)") }
        if let turn = snapshot.whole("turn"), turn > 0, let most = snapshot.whole("max_turns") {
            parts.append("turn \(turn)/\(most)")
        }
        parts.append("asked \(Moment.length(seconds: seconds)) ago")
        return Text.visible(parts.joined(separator: " · "))
    }

    private static func conclude(
        _ ask: JSONValue, _ task: TaskID, _ id: String, _ invocation: Invocation, _ console: Console
    ) -> ExitCode {
        let state = ask.text("state")
        if invocation.wantsJSON {
            console.print(ask.encoded(pretty: true))
        } else if let answer = ask.text("answer") {
            for line in answer.split(separator: "\n", omittingEmptySubsequences: false) {
                console.print(Text.visible(String(line)))
            }
        } else if state == AskState.expired {
            console.complain(
                "no answer yet", advice: "It may still come: bgagent asks show \(task) \(id)")
        } else {
            console.complain(
                "the task ended before its agent answered", advice: "What became of it: bgagent show \(task)")
        }
        switch state {
        case AskState.answered: return .success
        case AskState.expired: return .stillRunning
        default: return .failure
        }
    }

    @Sendable package static func show(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let id = try invocation.required("ASK")
        let ask = try await surroundings.client(for: invocation).call(
            "GET", "/tasks/\(task)/asks/\(Percent.encode(id))"
        ).data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(ask.encoded(pretty: true))
        } else {
            for line in lines(ask) { console.print(line) }
        }
        return .success
    }

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let found = try await surroundings.client(for: invocation).call("GET", "/tasks/\(task)/asks").data
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
        } else if found.array?.isEmpty ?? true {
            console.note("Nobody has asked this agent anything.")
        } else {
            for ask in found.array ?? [] { for line in lines(ask) { console.print(line) } }
        }
        return .success
    }

    private static func lines(_ ask: JSONValue) -> [String] {
        let who = Text.visible(ask.text("user_name") ?? "")
        let turn = ask.whole("turn").map { ", turn \($0)" } ?? ""
        let state = Text.visible(ask.text("state") ?? "") + turn
        return [
            "\(Text.visible(ask.text("ask_id") ?? ""))  \(who) asked (\(state)):",
            "  " + Text.visible(ask.text("question") ?? ""),
        ] + (ask.text("answer").map { ["  > " + Text.visible($0)] } ?? [])
    }
}

/// The states of a question as the API words them.
private enum AskState {
    static let open = "open"
    static let answered = "answered"
    static let expired = "expired"
}
