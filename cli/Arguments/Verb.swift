/// What an option takes. Parsing, help and completion all read this, so that they cannot disagree.
package enum OptionValue: Sendable, Equatable {
    /// Nothing: its presence is its meaning.
    case flag
    /// Any text; the string is the placeholder that help shows.
    case text(String)
    /// A path; shells complete file names.
    case file
    /// A whole number not below `minimum`. Upper bounds are the server's to judge: they are its settings.
    case whole(minimum: Int)
    /// US dollars, above zero, at most four decimals.
    case money
    /// A length of time: `90`, `90s`, `15m`, `8h`, `2d`; a bare number means seconds.
    case duration
    /// One of a fixed list.
    case choice([String])
    /// `yes` or `no`.
    case truth

    /// What stands behind the option's name in help, empty for a flag.
    package var placeholder: String {
        switch self {
        case .flag: ""
        case .text(let name): name
        case .file: "FILE"
        case .whole: "N"
        case .money: "USD"
        case .duration: "TIME"
        case .choice(let words): words.joined(separator: "|")
        case .truth: "yes|no"
        }
    }
}

/// One `--name` of a verb.
package struct Option: Sendable, Equatable {
    package let name: String
    package let short: Character?
    package let value: OptionValue
    package let help: String
    package let repeats: Bool

    /// - Parameter name: without the dashes.
    package init(
        _ name: String, _ value: OptionValue = .flag, _ help: String, short: Character? = nil, repeats: Bool = false
    ) {
        self.name = name
        self.short = short
        self.value = value
        self.help = help
        self.repeats = repeats
    }
}

/// One word that a verb takes by its place.
package struct Argument: Sendable, Equatable {
    /// How many words an argument takes.
    package enum Count: Sendable, Equatable { case one, optional, many }

    package let name: String
    package let help: String
    package let count: Count
    /// Fixed words that shells complete; empty when anything goes.
    package let choices: [String]

    package init(_ name: String, _ help: String, _ count: Count = .one, choices: [String] = []) {
        self.name = name
        self.help = help
        self.count = count
        self.choices = choices
    }
}

/// One command of the program: its words, what it takes, what it does.
package struct Verb: Sendable {
    package typealias Body = @Sendable (Invocation, Surroundings) async throws -> ExitCode

    /// The words that name it: `["repo", "add"]`.
    package let path: [String]
    package let summary: String
    package let arguments: [Argument]
    package let options: [Option]
    /// Lines printed below the options: examples, exit codes.
    package let notes: [String]
    package let body: Body

    package init(
        _ path: String, _ summary: String, arguments: [Argument] = [], options: [Option] = [], notes: [String] = [],
        body: @escaping Body
    ) {
        self.path = path.split(separator: " ").map(String.init)
        self.summary = summary
        self.arguments = arguments
        self.options = options
        self.notes = notes
        self.body = body
    }

    /// The words as typed: `repo add`.
    package var name: String { path.joined(separator: " ") }

    /// Own options first, then those that every verb takes.
    package var allOptions: [Option] { options + VerbTable.globalOptions }
}

/// What the program tells its caller. The numbers are a promise to scripts.
package enum ExitCode: Int32, Sendable {
    /// Done; for a waiting verb: the task is COMPLETED.
    case success = 0
    /// An error, or a task that ended in another final state.
    case failure = 1
    /// `--max-wait` passed first; the task goes on.
    case stillRunning = 2
    /// Ctrl-C; the task goes on.
    case interrupted = 130
}

/// An error whose reader is a person at a prompt: what went wrong, and what to type next.
package struct UserError: Error, Equatable {
    package let message: String
    package let advice: String?

    package init(_ message: String, _ advice: String? = nil) {
        self.message = message
        self.advice = advice
    }
}
