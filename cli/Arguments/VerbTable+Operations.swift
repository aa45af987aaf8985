/// The verbs that look into a running system.
extension VerbTable {
    private static let task = Argument("TASK", "id of the task, as submit and list print it")

    static let operationVerbs: [Verb] = [
        Verb(
            "logs", "show what services and sandbox wrote about a task", arguments: [task],
            options: [
                Option("follow", .flag, "go on until the task has ended", short: "f"),
                Option("service", .text("NAME"), "only lines of this service; agent is the sandbox"),
                Option("level", .choice(["debug", "info", "warning", "error"]), "only lines of this level and above"),
                Option("after", .whole(minimum: 0), "begin behind the line of this number (seq in JSON)"),
            ],
            notes: [
                "bgagent logs 01J… --level warning",
                "With --follow and --output json: one line each.",
            ], body: LogCommand.logs),
        Verb(
            "trace download", "fetch all that a task's agent said and did",
            arguments: [task],
            options: [
                Option("file", .file, "where to write it (default: TASK.jsonl.gz); - is stdout"),
                Option("force", .flag, "write over a file that is there", short: "f"),
            ],
            notes: [
                "For tasks submitted with --trace. It is gzip of JSON lines: zcat 01J….jsonl.gz | jq .type",
                "While the task runs it holds what was said some seconds ago; it is kept for a week.",
            ], body: TraceCommand.download),
        Verb(
            "top", "watch what a task does and uses, live", arguments: [task],
            options: [Option("once", .flag, "print one snapshot; also what a pipe gets")],
            body: TopCommand.top),
        Verb(
            "doctor", "check everything and say what to mend (admins)",
            options: [Option("repos", .flag, "check every repository's credential anew, too")],
            notes: [
                "Begins with what this machine can see; a gateway that is away is told as such.",
                "Exit code: 0 all is well, 1 something is to be mended.",
            ], body: DoctorCommand.doctor),
    ]

    static let repoCheckVerb = Verb(
        "repo check", "check that tasks can work on a repository",
        arguments: [Argument("OWNER/NAME", "the repository")],
        notes: ["Exit code: 0 all is well, 1 something is to be mended."], body: RepoCheckCommand.check)
}
