/// Every command of the program. Parsing, `help` and shell completion are all made from this table.
package enum VerbTable {
    /// Options that every verb takes, before or after its words.
    package static let globalOptions: [Option] = [
        Option("output", .choice(["text", "json"]), "text for people (default), json for programs", short: "o"),
        Option("profile", .text("NAME"), "profile to use (default: BGAGENT_PROFILE, then the configured default)"),
        Option("ca-file", .file, "authority of the gateway's certificate (default: BGAGENT_CA_FILE)"),
        Option("verbose", .flag, "show each request on stderr", short: "v"),
        Option("help", .flag, "show help", short: "h"),
    ]

    package static let verbs: [Verb] =
        taskVerbs + steeringVerbs + operationVerbs + repoVerbs + policyVerbs + loginVerbs + accountVerbs
        + OperatorVerbs.all
        + setupVerbs

    private static let task = Argument("TASK", "id of the task, as submit and list print it")
    private static let maxWait = Option("max-wait", .duration, "stop waiting after this long, with exit code 2")
    private static let limits = [
        Option("max-turns", .whole(minimum: 1), "turns the agent may take"),
        Option("max-budget", .money, "dollars the model may cost"),
        Option("max-duration", .duration, "time from the first start to the end"),
    ]
    private static let waitCodes = "Exit code of a wait: 0 COMPLETED, 1 any other end, 2 --max-wait passed, 130 Ctrl-C."

    // MARK: - Tasks

    private static let taskVerbs: [Verb] = [
        Verb(
            "submit", "hand over a task",
            arguments: [
                Argument("TEXT", "what to do; - reads it from stdin; may hold the address of an issue", .many)
            ],
            options: [
                Option("repo", .text("OWNER/NAME"), "repository to work on (or an issue's address in the text)"),
                Option("issue", .whole(minimum: 1), "issue of that repository to work on"),
                Option("task", .text("TEXT"), "the text as an option instead"),
            ] + limits + [
                Option("wait", .flag, "show the timeline until the task has ended"), maxWait,
                Option(
                    "pre-approve", .text("SCOPE"), "let its agent do this without asking, as 'bash_pattern:npm test*'",
                    repeats: true),
                Option("approval-timeout", .duration, "none of its questions for leave waits longer (30s to 1h)"),
                Option("trace", .flag, "keep all that its agent says and does, for a week"),
                override,
                Option("idempotency-key", .text("KEY"), "the same key never makes a second task (default: random)"),
            ],
            notes: [
                "bgagent submit --repo acme/shop \"fix the failing test\" --wait",
                "bgagent submit https://github.com/acme/shop/issues/42 --max-budget 5",
                "git log -1 --format=%B | bgagent submit --repo acme/shop -",
                "With --wait and --output json: one line for the task, one per event, one for the end.",
                waitCodes,
            ], body: TaskCommands.submit),
        Verb(
            "retry", "do the work of a task that has ended once more, as a new task", arguments: [task],
            options: [
                Option("wait", .flag, "show the timeline until the task has ended"), maxWait,
                override,
                Option("idempotency-key", .text("KEY"), "the same key never makes a second task (default: random)"),
            ],
            notes: [
                "It keeps the limits of the earlier one; what was allowed to its agent is asked for again.", waitCodes,
            ],
            body: TaskCommands.retry),
        Verb(
            "status", "say where a task stands", arguments: [task],
            options: [Option("wait", .flag, "wait for the end first"), maxWait],
            notes: [waitCodes], body: TaskCommands.status),
        Verb(
            "watch", "follow a task to its end", arguments: [task],
            options: [
                Option("after", .text("EVENT"), "begin behind this event id (default: the first event)"), maxWait,
            ],
            notes: [waitCodes, "Ctrl-C stops watching, never the task."], body: TaskCommands.watch),
        Verb(
            "events", "list the events of a task", arguments: [task],
            options: [
                Option("after", .text("EVENT"), "begin behind this event id"),
                Option("type", .text("TYPE"), "only events of this type"),
                Option("limit", .whole(minimum: 1), "how many (default 50)"),
                Option("all", .flag, "all of them"),
                Option("desc", .flag, "newest first"),
            ], body: TaskCommands.events),
        Verb("show", "show everything known of a task", arguments: [task], body: TaskCommands.show),
        Verb(
            "list", "list tasks, newest first",
            options: [
                Option("status", .text("STATE,…"), "only tasks in these states"),
                Option("repo", .text("OWNER/NAME"), "only tasks of this repository"),
                Option("limit", .whole(minimum: 1), "how many (default 20)"),
                Option("all", .flag, "all of them"),
            ], body: TaskCommands.list),
        Verb(
            "cancel", "stop a task; its work so far is pushed, no pull request is opened", arguments: [task],
            options: [Option("wait", .flag, "wait until it has ended"), maxWait],
            notes: ["Exit code: 0 when the cancel was accepted (with --wait: when the task is CANCELLED)."],
            body: TaskCommands.cancel),
    ]

    // MARK: - Repositories

    private static let repo = Argument("OWNER/NAME", "the repository")
    private static let repoOptions: [Option] =
        [Option("model", .text("NAME"), "model that works on it")] + limits + [
            Option("setup-command", .text("COMMAND"), "prepares a fresh clone"),
            Option("build-command", .text("COMMAND"), "builds; must pass before a pull request"),
            Option("test-command", .text("COMMAND"), "tests; must pass before a pull request"),
            Option("lint-command", .text("COMMAND"), "lints"),
            Option("default-branch", .text("BRANCH"), "branch to start from (default: the forge's)"),
            Option("system-prompt", .text("TEXT"), "words added to the agent's instructions; @FILE reads a file"),
            Option("credential-ref", .text("NAME"), "file below BGAGENT_SECRETS_DIR that holds its credential"),
            Option("max-concurrent", .whole(minimum: 1), "tasks of it that may run at once"),
            Option("allow-ci-changes", .truth, "whether the agent may push changes to CI configuration"),
            Option("allow-secrets", .truth, "whether the agent may push what seems to hold secrets"),
            Option("approval-gates", .truth, "whether agents ask people before what the soft rules name"),
            Option("policies", .text("TEXT"), "its own rules, in Cedar; @FILE reads a file"),
            Option("approvers", .text("NAMES"), "who may approve, as ada,bob (default: whoever may steer)"),
            Option("second-person", .truth, "whether nobody may approve what they submitted themselves"),
            Option("gate-cap", .whole(minimum: 1), "how often one task may ask for leave"),
            Option("approval-timeout", .duration, "no question for leave waits longer (30s to 1h)"),
            Option(
                "unanswered-question", .choice(["continue", "park"]),
                "what a task does when nobody answers its agent"),
            Option("access", .choice(["open", "restricted"]), "open to every member, or to grants alone"),
            Option(
                "notify", .text("CHANNEL=TARGET"), "tell a channel, as slack=#builds; on and off switch it",
                repeats: true),
            Option(
                "notify-events", .text("CHANNEL=EVENTS"), "what it hears of: default, verbose or event types",
                repeats: true),
        ]

    private static let repoVerbs: [Verb] = [
        Verb(
            "repo add", "let tasks work on a repository", arguments: [repo],
            options: repoOptions + [
                Option("require-access", .flag, "add it only when its credential passes every check")
            ],
            notes: ["bgagent repo add acme/shop --test-command 'make test' --notify 'slack=#builds'"],
            body: RepoCommands.add),
        Verb("repo list", "list the repositories", body: RepoCommands.list),
        Verb("repo show", "show a repository's settings", arguments: [repo], body: RepoCommands.show),
        Verb(
            "repo set", "change settings; they hold from the next task on", arguments: [repo],
            options: repoOptions + [
                Option("unset", .text("OPTION"), "back to the platform's default, as --unset model", repeats: true)
            ], body: RepoCommands.set),
        Verb("repo remove", "refuse new tasks for a repository", arguments: [repo], body: RepoCommands.remove),
        Verb(
            "repo grant", "let a user read, submit or steer in a repository (admins)",
            arguments: [
                repo, user,
                Argument("LEVEL", "read, submit or steer; each allows what those before it do", choices: levels),
            ],
            notes: [
                "read: see its settings and everybody's tasks. submit: tasks of one's own too.",
                "steer: everybody's tasks too. A role stays the upper bound: a viewer only reads.",
                "bgagent repo set acme/shop --access restricted && bgagent repo grant acme/shop ada submit",
            ], body: GrantCommands.grant),
        Verb(
            "repo revoke", "take a user's grant on a repository away (admins)", arguments: [repo, user],
            body: GrantCommands.revoke),
        Verb("repo grants", "list a repository's grants (admins)", arguments: [repo], body: GrantCommands.list),
        repoCheckVerb,
    ]

    private static let levels = ["read", "submit", "steer"]

    // MARK: - Accounts

    private static let user = Argument("USER", "name or id of the user, as user list prints them")
    private static let roles = Option("role", .choice(["admin", "member", "viewer"]), "what the user may do")

    private static let places = Option("max-concurrent", .whole(minimum: 1), "tasks of the user at work at once")
    private static let email = Option("email", .text("ADDRESS"), "where mail for the user goes")
    private static let passwordFile = Option("password-file", .file, "file with the password in its first line")
    private static let newPasswordFile = Option("new-password-file", .file, "file with the new password")

    private static let loginVerbs: [Verb] = [
        Verb(
            "login", "log in with a password; the login is saved like a token",
            arguments: [Argument("NAME", "the account (default: who logged in last)", .optional)],
            options: [
                Option("api-url", .text("URL"), "address of the gateway (default: the profile's)"), passwordFile,
                newPasswordFile, Option("default", .flag, "make --profile NAME the default profile"),
            ],
            notes: [
                "bgagent login ada --api-url http://127.0.0.1:8080",
                "Asks on a terminal without showing it. A pipe holds the password in its first line and, where a",
                "one-time password has to be replaced, the new one in its second.",
            ], body: LoginCommands.login),
        Verb("logout", "end the login and forget the saved token", body: LoginCommands.logout),
        Verb("whoami", "show who the token belongs to", body: AccountCommands.whoami),
        Verb(
            "passwd", "change your password; every other login of yours ends",
            options: [passwordFile, newPasswordFile],
            notes: ["A pipe holds the old password in its first line and the new one in its second."],
            body: LoginCommands.changePassword),
    ]

    private static let accountVerbs: [Verb] = [
        Verb(
            "user add", "make an account with a one-time password (admins)",
            arguments: [Argument("NAME", "how the user is called")],
            options: [email, roles, places, Option("no-password", .flag, "API tokens only: no password is made")],
            body: UserCommands.add),
        Verb("user list", "list the accounts (admins)", body: UserCommands.list),
        Verb("user show", "show an account", arguments: [user], body: UserCommands.show),
        Verb(
            "user set", "change an account (admins)", arguments: [user],
            options: [Option("name", .text("NAME"), "how the user is called"), email, roles, places],
            body: UserCommands.set),
        Verb(
            "user password", "give an account a one-time password; it is shown once (admins)", arguments: [user],
            body: UserCommands.password),
        Verb(
            "user disable", "close an account and end its logins and tokens (admins)", arguments: [user],
            body: UserCommands.disable),
        Verb("user enable", "open a closed account again (admins)", arguments: [user], body: UserCommands.enable),
        Verb(
            "token add", "make an API token; it is shown once",
            arguments: [Argument("USER", "whose token (default: yours)", .optional)],
            options: [
                Option("name", .text("NAME"), "what it is for (default: cli)"),
                Option("expires-in", .duration, "how long it lives (default: until revoked)"),
            ],
            notes: ["bgagent token add 01J… --name laptop > token.txt"], body: AccountCommands.addToken),
        Verb(
            "token list", "list a user's API tokens and logins",
            arguments: [Argument("USER", "whose (default: yours)", .optional)],
            body: AccountCommands.listTokens),
        Verb(
            "token revoke", "make an API token or a login worthless",
            arguments: [Argument("TOKEN-ID", "as token list prints it")],
            body: AccountCommands.revokeToken),
    ]

    // MARK: - Setup

    private static let setupVerbs: [Verb] = [
        Verb(
            "configure", "save the gateway's address and your token",
            options: [
                Option("api-url", .text("URL"), "address of the gateway, as http://127.0.0.1:8080"),
                Option("token-file", .file, "file that holds the API token"),
                Option("token", .text("TOKEN"), "the API token; - reads stdin. Other users can see arguments"),
                Option("default", .flag, "make --profile NAME the default profile"),
                Option("no-check", .flag, "save without asking the gateway who you are"),
            ],
            notes: [
                "bgagent configure --api-url http://127.0.0.1:8080 --token-file admin-token",
                "Without a token option it asks on a terminal, and reads one line from a pipe.",
                "Saved in ~/.bgagent (or BGAGENT_CONFIG_DIR), readable by you alone.",
                "BGAGENT_API_URL, BGAGENT_TOKEN and BGAGENT_CA_FILE stand above what is saved.",
                "--ca-file FILE is saved with the profile, for a gateway with an authority of your own.",
            ], body: SetupCommands.configure),
        Verb(
            "completion", "print completions for your shell",
            arguments: [Argument("SHELL", "bash, zsh or fish", choices: ["bash", "zsh", "fish"])],
            notes: [
                "bash: source <(bgagent completion bash)",
                "zsh:  source <(bgagent completion zsh)",
                "fish: bgagent completion fish > ~/.config/fish/completions/bgagent.fish",
            ], body: SetupCommands.completion),
    ]
}
