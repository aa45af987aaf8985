/// The commands of whoever runs the installation.
enum OperatorVerbs {
    private static let repo = Option("repo", .text("OWNER/NAME"), "only this repository")
    private static let dryRun = Option("dry-run", .flag, "only say what would happen")
    private static let letter = Argument("ID", "as dlq list prints it")

    static let all: [Verb] = [
        Verb("admin state", "show what is paused, the compute nodes and what is at work", body: AdminCommands.state),
        Verb(
            "admin pause", "start no new work; what runs goes on",
            options: [repo, Option("reason", .text("TEXT"), "kept for whoever asks")], body: AdminCommands.pause),
        Verb(
            "admin resume", "start work again",
            options: [repo, Option("node", .text("NAME"), "only this compute node")], body: AdminCommands.resume),
        Verb(
            "admin drain", "pause, then wait until nothing is at work, as before an upgrade",
            options: [
                Option("node", .text("NAME"), "only this compute node: it gets no new work"),
                Option("reason", .text("TEXT"), "kept for whoever asks"),
                Option("no-wait", .flag, "do not wait"),
                Option("max-wait", .duration, "stop waiting after this long, with exit code 2"),
            ], notes: ["Ctrl-C stops waiting; it stays paused until bgagent admin resume."],
            body: AdminCommands.drain),
        Verb(
            "dlq list", "list messages and notifications that were given up",
            options: [Option("task", .text("TASK"), "only those of a task")], body: AdminCommands.listLetters),
        Verb("dlq show", "show one of them whole", arguments: [letter], body: AdminCommands.showLetter),
        Verb(
            "dlq replay", "handle or send it once more",
            arguments: [letter], options: [dryRun], body: AdminCommands.replayLetter),
        Verb(
            "dlq drop", "give it up for good", arguments: [letter], options: [dryRun], body: AdminCommands.dropLetter),
    ]
}
