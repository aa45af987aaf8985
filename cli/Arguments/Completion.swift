/// Shell completion scripts, made from the table: verbs, options, fixed values and file names. They ask no server.
package enum Completion {
    /// - Parameter shell: `bash`, `zsh` or `fish`.
    package static func script(_ shell: String, verbs: [Verb] = VerbTable.verbs) -> String {
        switch shell {
        case "zsh": zsh(verbs)
        case "fish": fish(verbs)
        default: bash(verbs)
        }
    }

    // MARK: - bash and zsh

    private static func bash(_ verbs: [Verb]) -> String {
        let answers = answers(
            verbs, variable: "path", files: "COMPREPLY=($(compgen -f -- \"$word\"))",
            words: { "COMPREPLY=($(compgen -W \"\($0)\" -- \"$word\"))" })
        return """
            # bash completion for bgagent; load it with: source <(bgagent completion bash)
            _bgagent() {
                local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path="" next at
                for ((at = 1; at < COMP_CWORD; at++)); do
                    next=${COMP_WORDS[at]}
            \(walk(verbs, indent: 8))
                done
                COMPREPLY=()
            \(answers)
            }
            complete -F _bgagent bgagent

            """
    }

    private static func zsh(_ verbs: [Verb]) -> String {
        let answers = answers(verbs, variable: "word_path", files: "_files", words: { "compadd -- \($0)" })
        return """
            #compdef bgagent
            # zsh completion for bgagent; load it with: source <(bgagent completion zsh)
            _bgagent() {
                local previous=${words[CURRENT-1]} word_path="" next at
                local -i last=$((CURRENT - 1))
                for ((at = 2; at <= last; at++)); do
                    next=${words[at]}
            \(walk(verbs, indent: 8, variable: "word_path"))
                done
            \(answers)
            }
            compdef _bgagent bgagent

            """
    }

    /// Shell lines that grow `path` by `next` as long as some verb begins so.
    private static func walk(_ verbs: [Verb], indent: Int, variable: String = "path") -> String {
        var prefixes: [String] = []
        for verb in verbs {
            for length in 1...verb.path.count {
                let prefix = verb.path.prefix(length).joined(separator: " ")
                if !prefixes.contains(prefix) { prefixes.append(prefix) }
            }
        }
        let space = String(repeating: " ", count: indent)
        let grown = "${\(variable):+$\(variable) }$next"
        let patterns = prefixes.map { "\"\($0)\"" }.joined(separator: "|")
        return """
            \(space)case "\(grown)" in
            \(space)    \(patterns)) \(variable)="\(grown)" ;;
            \(space)esac
            """
    }

    /// Shell lines that offer what may follow: first the value of an option, then words and options of the verb.
    private static func answers(
        _ verbs: [Verb], variable: String, files: String, words: (String) -> String
    ) -> String {
        var lines = ["    case \"$previous\" in"]
        let options = (verbs.flatMap(\.options) + VerbTable.globalOptions).reduce(into: [Option]()) { all, option in
            if !all.contains(where: { $0.name == option.name }) { all.append(option) }
        }
        for option in options {
            let pattern = (option.short.map { "-\($0)|" } ?? "") + "--" + option.name
            switch option.value {
            case .flag: continue
            case .file: lines.append("        \(pattern)) \(files); return ;;")
            case .choice(let choices):
                lines.append("        \(pattern)) \(words(choices.joined(separator: " "))); return ;;")
            case .truth: lines.append("        \(pattern)) \(words("yes no")); return ;;")
            default: lines.append("        \(pattern)) return ;;")
            }
        }
        lines += ["    esac", "    case \"$\(variable)\" in"]
        for (path, offers) in table(verbs) {
            lines.append("        \"\(path)\") \(words(offers.joined(separator: " "))) ;;")
        }
        lines.append("    esac")
        return lines.joined(separator: "\n")
    }

    /// What may follow each prefix of a verb: the next words, or the verb's fixed words and options.
    private static func table(_ verbs: [Verb]) -> [(path: String, offers: [String])] {
        let globals = VerbTable.globalOptions.map { "--" + $0.name }
        var rows: [(path: String, offers: [String])] = []
        func add(_ path: String, _ offers: [String]) {
            if let at = rows.firstIndex(where: { $0.path == path }) {
                rows[at].offers += offers.filter { !rows[at].offers.contains($0) }
            } else {
                rows.append((path, offers))
            }
        }
        for verb in verbs {
            for length in 0..<verb.path.count {
                add(verb.path.prefix(length).joined(separator: " "), [verb.path[length]])
            }
            add(verb.name, verb.arguments.flatMap(\.choices) + verb.allOptions.map { "--" + $0.name })
        }
        add("", ["help"] + globals)
        return rows
    }

    // MARK: - fish

    private static func fish(_ verbs: [Verb]) -> String {
        var lines = [
            "# fish completion for bgagent",
            "function __bgagent_at",
            "    set -l words (commandline -opc | string match -v -- '-*')",
            "    set -l at (string join ' ' -- $words[2..-1])",
            "    test \"$at\" = \"$argv\"",
            "end",
            "function __bgagent_in",
            "    set -l words (commandline -opc | string match -v -- '-*')",
            "    set -l at (string join ' ' -- $words[2..-1])",
            "    string match -q -- \"$argv\" \"$at\"; or string match -q -- \"$argv *\" \"$at\"",
            "end",
            "complete -c bgagent -f",
            "complete -c bgagent -n '__bgagent_at ' -a help -d 'explain a command'",
        ]
        for verb in verbs {
            for length in 0..<verb.path.count {
                let before = verb.path.prefix(length).joined(separator: " ")
                let help = length + 1 == verb.path.count ? verb.summary : "\(verb.path[length]) commands"
                let line =
                    "complete -c bgagent -n '__bgagent_at \(before)' -a \(verb.path[length]) -d '\(quoted(help))'"
                if !lines.contains(line) { lines.append(line) }
            }
            let choices = verb.arguments.flatMap(\.choices)
            if !choices.isEmpty {
                lines.append(
                    "complete -c bgagent -n '__bgagent_at \(verb.name)' -a '\(choices.joined(separator: " "))'")
            }
            lines += verb.allOptions.map { fish($0, verb) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func fish(_ option: Option, _ verb: Verb) -> String {
        var line = "complete -c bgagent -n '__bgagent_in \(verb.name)' -l \(option.name)"
        if let letter = option.short { line += " -s \(letter)" }
        switch option.value {
        case .flag: break
        case .file: line += " -r -F"
        case .choice(let words): line += " -x -a '\(words.joined(separator: " "))'"
        case .truth: line += " -x -a 'yes no'"
        default: line += " -x"
        }
        return line + " -d '\(quoted(option.help))'"
    }

    /// For a fish string in single quotes.
    private static func quoted(_ text: String) -> String {
        text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "\\'")
    }
}
