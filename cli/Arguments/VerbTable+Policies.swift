/// The verbs about what agents may do, and about what was decided.
extension VerbTable {
    private static let repo = Argument("OWNER/NAME", "the repository")

    static let policyVerbs: [Verb] = [
        Verb(
            "policies list", "list the rules that hold in a repository", arguments: [repo],
            body: PolicyCommands.list),
        Verb(
            "policies show", "show the repository's own rules as they were written", arguments: [repo],
            body: PolicyCommands.show),
        Verb(
            "policies test", "say what would become of a tool call",
            arguments: [repo, Argument("COMMAND", "what Bash would run", .optional)],
            options: [
                Option("tool", .text("NAME"), "another tool than Bash"),
                Option("input", .text("JSON"), "what it is called with"),
                Option("scope", .text("SCOPE"), "as if this had been allowed already", repeats: true),
                Option("file", .file, "rules to try instead of the repository's own"),
            ],
            notes: [
                "bgagent policies test acme/shop \"git push --force\"",
                "Exit code: 0 it may run, 1 it may not or a person is asked.",
            ], body: PolicyCommands.test),
        Verb(
            "policies lint", "read a file of rules without storing them",
            arguments: [Argument("FILE", "rules in Cedar; - reads them from stdin")],
            notes: ["Exit code: 0 they can be taken, 1 something is wrong."], body: PolicyCommands.lint),
        Verb(
            "audit verify", "check that nobody changed the audit log (admins)",
            options: [Option("seal", .text("SEAL"), "a head that was printed before: is it still there?")],
            notes: [
                "Keep the head that it prints somewhere else: with it, a log that was cut short shows too.",
                "Exit code: 0 it is whole, 1 it is not.",
            ], body: PolicyCommands.verifyAudit),
    ]
}
