import Domain

/// `bgagent top`: one page about a task, written over itself every two seconds.
package enum TopCommand {
    private static let pause: Duration = .seconds(2)

    @Sendable package static func top(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode {
        let task = try TaskCommands.taskID(invocation)
        let console = surroundings.console
        let isLive = console.width != nil && !invocation.has("once") && !invocation.wantsJSON
        let client = try surroundings.client(
            for: invocation, patience: isLive ? APIClient.longPatience : APIClient.briefPatience)
        if isLive {
            console.onInterrupt(["The task goes on."])
            console.printText("\u{1B}[2J")
        }
        while true {
            let snapshot = try await client.call("GET", "/tasks/\(task)/top").data
            guard isLive else {
                show(snapshot, invocation, console)
                return .success
            }
            let lines = TopPage(snapshot).lines(style: console.style, width: console.width)
            // From the top left, each line and the rest of the screen cleared behind it: no flicker, nothing left over.
            console.printText("\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J")
            let state = snapshot.member("status")?.text("status") ?? ""
            if TaskStatus(rawValue: state)?.isFinal ?? false { return .success }
            try await surroundings.pace.pause(pause)
        }
    }

    private static func show(_ snapshot: JSONValue, _ invocation: Invocation, _ console: Console) {
        if invocation.wantsJSON {
            console.print(snapshot.encoded(pretty: true))
        } else {
            for line in TopPage(snapshot).lines(style: console.style, width: console.width) { console.print(line) }
        }
    }
}
