/// Turns the words after the program's name into an ``Invocation``. Pure: it looks at nothing but the table.
package struct Parser: Sendable {
    private let verbs: [Verb]

    package init(verbs: [Verb] = VerbTable.verbs) {
        self.verbs = verbs
    }

    /// What the words ask for.
    package enum Request: Sendable {
        case run(Invocation)
        /// Help for the verbs that begin with these words; none means the overview.
        case help([String])
        case version
    }

    /// - Throws: ``UserError`` that names the wrong word, the nearest right one and the help to read.
    package func parse(_ words: [String]) throws -> Request {
        var scan = Scan(words: words)
        let path = try verbPath(&scan)
        if scan.wantsHelp || path.first == "help" {
            return .help(path.first == "help" ? Array(path.dropFirst()) + scan.rest : path)
        }
        if scan.wantsVersion { return .version }
        guard let verb = verbs.first(where: { $0.path == path }) else {
            if path.isEmpty {
                guard let word = scan.rest.first else { return .help([]) }
                throw unknownFirst(word)
            }
            throw unknownVerb(path, next: scan.rest.first)
        }
        return try parse(verb, &scan)
    }

    // MARK: - Verbs

    /// Reads global options that stand before the verb, then as many words as some verb's path begins with.
    private func verbPath(_ scan: inout Scan) throws -> [String] {
        var path: [String] = []
        while let word = scan.peek {
            if word == "--help" || word == "-h" {
                scan.wantsHelp = true
                scan.advance()
            } else if word == "--version", path.isEmpty {
                scan.wantsVersion = true
                scan.advance()
            } else if word.hasPrefix("-"), word != "-", word != "--" {
                guard path.isEmpty else { break }
                let option = try find(word, in: VerbTable.globalOptions, verb: nil)
                try scan.take(option, spelled: word)
            } else if path == ["help"] {
                break
            } else if path.isEmpty && word == "help" {
                path = ["help"]
                scan.advance()
            } else if verbs.contains(where: { $0.path.starts(with: path + [word]) }) {
                path.append(word)
                scan.advance()
            } else {
                break
            }
        }
        return path
    }

    private func unknownVerb(_ path: [String], next: String?) -> UserError {
        let group = verbs.filter { $0.path.starts(with: path) && $0.path.count > path.count }
        let candidates = group.map { $0.path[path.count] }
        let prefix = (["bgagent"] + path).joined(separator: " ")
        guard let next else {
            return UserError(
                "'\(prefix)' needs one more word: \(candidates.joined(separator: ", "))",
                "bgagent help \(path.joined(separator: " "))")
        }
        let advice =
            Suggestion.nearest(to: next, among: candidates).map { "Did you mean '\(prefix) \($0)'?" }
            ?? "bgagent help lists every command."
        return UserError("unknown command '\(Text.visible((path + [next]).joined(separator: " ")))'", advice)
    }

    /// The error for a first word that begins no verb.
    private func unknownFirst(_ word: String) -> UserError {
        let names = verbs.map(\.name) + verbs.compactMap(\.path.first) + ["help"]
        let advice =
            Suggestion.nearest(to: word, among: names).map { "Did you mean 'bgagent \($0)'?" }
            ?? "bgagent help lists every command."
        return UserError("unknown command '\(Text.visible(word))'", advice)
    }

    // MARK: - Options and arguments

    private func parse(_ verb: Verb, _ scan: inout Scan) throws -> Request {
        var words: [String] = []
        while let word = scan.peek {
            if word == "--" {
                scan.advance()
                words += scan.rest
                break
            } else if word == "--help" || word == "-h" {
                return .help(verb.path)
            } else if word.hasPrefix("-"), word != "-" {
                let option = try find(word, in: verb.allOptions, verb: verb)
                try scan.take(option, spelled: word)
            } else {
                words.append(word)
                scan.advance()
            }
        }
        return .run(Invocation(verb: verb, options: scan.values, arguments: try place(words, verb)))
    }

    /// Finds `--name`, `--name=value` or `-n` among `options`.
    private func find(_ word: String, in options: [Option], verb: Verb?) throws -> Option {
        let spelled = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
        if spelled.hasPrefix("--") {
            if let option = options.first(where: { $0.name == spelled.dropFirst(2) }) { return option }
        } else if spelled.count == 2, let letter = spelled.last {
            if let option = options.first(where: { $0.short == letter }) { return option }
        }
        if verb == nil, let word = spelled.dropFirst(2).isEmpty ? nil : String(spelled) {
            throw UserError(
                "unknown option '\(Text.visible(word))' before a command",
                "Options of a command stand behind it; bgagent help lists the commands.")
        }
        let names = options.map { "--" + $0.name }
        let help = "bgagent help\(verb.map { " " + $0.name } ?? "") lists the options."
        let advice =
            Suggestion.nearest(to: String(spelled), among: names).map { "Did you mean '\($0)'? \(help)" } ?? help
        throw UserError("unknown option '\(Text.visible(String(spelled)))'", advice)
    }

    /// Puts plain words into the verb's arguments.
    private func place(_ words: [String], _ verb: Verb) throws -> [String: [String]] {
        var left = words[...]
        var placed: [String: [String]] = [:]
        for argument in verb.arguments {
            switch argument.count {
            case .many:
                placed[argument.name] = Array(left)
                left = []
            case .one, .optional:
                guard let word = left.popFirst() else {
                    if argument.count == .optional { continue }
                    throw UserError(
                        "bgagent \(verb.name): \(argument.name) is missing (\(argument.help))",
                        "Usage: \(Help.usage(verb))")
                }
                if !argument.choices.isEmpty, !argument.choices.contains(word) {
                    throw UserError(
                        "\(argument.name) can be \(argument.choices.joined(separator: ", ")), "
                            + "not '\(Text.visible(word))'", "Usage: \(Help.usage(verb))")
                }
                placed[argument.name] = [word]
            }
        }
        if let extra = left.first {
            throw UserError(
                "bgagent \(verb.name): '\(Text.visible(extra))' is one word too many", "Usage: \(Help.usage(verb))")
        }
        return placed
    }

    // MARK: - The scan

    /// The words not read yet, and the option values read so far.
    private struct Scan {
        private(set) var words: ArraySlice<String>
        private(set) var values: [String: [String]] = [:]
        var wantsHelp = false
        var wantsVersion = false

        init(words: [String]) {
            self.words = words[...]
        }

        var peek: String? { words.first }
        var rest: [String] { Array(words) }

        mutating func advance() { words = words.dropFirst() }

        /// Reads one option and its value, and checks the value.
        mutating func take(_ option: Option, spelled word: String) throws {
            advance()
            let attached = word.firstIndex(of: "=").map { String(word[word.index(after: $0)...]) }
            let value: String
            switch (option.value, attached) {
            case (.flag, nil):
                value = ""
            case (.flag, .some):
                throw UserError("--\(option.name) takes no value", nil)
            case (_, .some(let text)):
                value = text
            case (_, nil):
                guard let next = words.first, !next.hasPrefix("--") else {
                    throw UserError(
                        "--\(option.name) needs a value: --\(option.name) \(option.value.placeholder)", option.help)
                }
                value = next
                advance()
            }
            try OptionCheck.check(value, option)
            if option.repeats {
                values[option.name, default: []].append(value)
            } else {
                guard values[option.name] == nil || option.value == .flag else {
                    throw UserError("--\(option.name) is given twice", "Keep one of them.")
                }
                values[option.name] = [value]
            }
        }
    }
}
