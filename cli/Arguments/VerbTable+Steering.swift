/// The verbs that reach a running agent.
extension VerbTable {
    private static let task = Argument("TASK", "id of the task, as submit and list print it")
    private static let waiting = Argument("TASK|REQUEST", "the request, or its task when one alone waits")

    static let override = Option("override-screening", .flag, "let the text through all the same (admins)")

    static let steeringVerbs: [Verb] = [
        Verb(
            "nudge", "tell a running agent something",
            arguments: [task, Argument("TEXT", "what to tell it; - reads it from stdin", .many)],
            options: [
                Option(
                    "mode", .choice(["next", "steer", "interrupt"]),
                    "behind the running tool (default), in place of the next, at once"),
                override,
            ],
            notes: [
                "bgagent nudge 01J… \"use the decimal module, not floats\"",
                "next costs no turn: it comes with what the running tool gives back. steer costs the tool call",
                "that it replaces, interrupt whatever is running and a turn.",
                "A task in the queue hears it when it starts.",
                "bgagent nudges TASK shows how far it has come.",
            ], body: SteeringCommands.nudge),
        Verb(
            "nudges", "show what an agent was told and how far it has come", arguments: [task],
            body: SteeringCommands.nudges),
        Verb(
            "withdraw", "take a nudge back that no agent has yet",
            arguments: [task, Argument("NUDGE", "as nudges prints it")], body: SteeringCommands.withdraw),
        Verb(
            "ask", "ask a running agent and wait for its answer",
            arguments: [task, Argument("TEXT", "the question; - reads it from stdin", .many)],
            options: [
                Option("timeout", .duration, "how long to wait (default 5m, at most 10m)"),
                Option("no-wait", .flag, "print the question's id and go"), override,
            ],
            notes: [
                "bgagent ask 01J… \"why did you touch the lock file?\"",
                "Ctrl-C loses nothing: bgagent asks show TASK ASK has the answer later.",
                "Exit code: 0 answered, 1 the task ended first, 2 no answer in time, 130 Ctrl-C.",
            ], body: AskCommand.ask),
        Verb("asks list", "show what an agent was asked, and its answers", arguments: [task], body: AskCommand.list),
        Verb(
            "asks show", "show a question and its answer",
            arguments: [task, Argument("ASK", "as ask and asks list print it")], body: AskCommand.show),
        Verb(
            "pending", "show what waits for a person, over all your tasks",
            options: [Option("task", .text("TASK"), "only what this task waits for")],
            body: SteeringCommands.pending),
        Verb(
            "approve", "let an agent do what it asks for", arguments: [waiting],
            options: [
                Option("scope", .text("SCOPE"), "allow more than this call; one of those that pending shows"),
                Option("reason", .text("TEXT"), "kept in the timeline"), override,
            ], notes: ["bgagent pending shows the whole of what you decide on."], body: ApprovalCommands.approve),
        Verb(
            "deny", "refuse what an agent asks for", arguments: [waiting],
            options: [Option("reason", .text("TEXT"), "the agent is told"), override], body: ApprovalCommands.deny),
        Verb(
            "answer", "answer what an agent asks",
            arguments: [
                Argument("TASK", "id of the task"),
                Argument("TEXT", "the answer; - reads it from stdin", .many),
            ],
            options: [Option("question", .text("QUESTION"), "which one, when several are open"), override],
            body: SteeringCommands.answer),
    ]
}
