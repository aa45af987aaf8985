import Domain

/// Writes help from the table. Plain text, at most 100 columns, the same on every machine.
package enum Help {
    package static let version = Build.version

    /// Help for the verbs whose words begin with `words`: one verb in full, a group or everything as a list.
    /// - Throws: ``UserError`` when no verb begins so.
    package static func text(_ words: [String], verbs: [Verb] = VerbTable.verbs) throws -> String {
        if let verb = verbs.first(where: { $0.path == words }) { return page(verb) }
        let group = verbs.filter { $0.path.starts(with: words) }
        guard !group.isEmpty else {
            _ = try Parser(verbs: verbs).parse(words)
            throw UserError("no help for '\(Text.visible(words.joined(separator: " ")))'", "bgagent help")
        }
        return words.isEmpty ? overview(verbs) : list(group)
    }

    /// `bgagent repo add OWNER/NAME [options]`.
    package static func usage(_ verb: Verb) -> String {
        var parts = ["bgagent", verb.name]
        for argument in verb.arguments {
            switch argument.count {
            case .one: parts.append(argument.name)
            case .optional: parts.append("[\(argument.name)]")
            case .many: parts.append("[\(argument.name)…]")
            }
        }
        return (parts + ["[options]"]).joined(separator: " ")
    }

    private static func overview(_ verbs: [Verb]) -> String {
        """
        bgagent hands coding tasks to background agents and follows them to the pull request.

        Usage: bgagent COMMAND [options]

        \(list(verbs))
        Options of every command:
        \(rows(VerbTable.globalOptions.map { (spelling($0), $0.help) }))
        Exit codes: 0 done or COMPLETED, 1 error or another end, 2 wait expired, 130 Ctrl-C.
        bgagent help COMMAND tells more. First steps:
          bgagent configure --api-url URL --token-file FILE
          bgagent repo add OWNER/NAME
          bgagent submit --repo OWNER/NAME "what to do" --wait

        """
    }

    private static func list(_ verbs: [Verb]) -> String {
        "Commands:\n" + rows(verbs.map { ($0.name, $0.summary) })
    }

    private static func page(_ verb: Verb) -> String {
        var sections = ["bgagent \(verb.name): \(verb.summary)\n\nUsage: \(usage(verb))\n"]
        if !verb.arguments.isEmpty {
            sections.append("Arguments:\n" + rows(verb.arguments.map { ($0.name, $0.help) }))
        }
        if !verb.options.isEmpty {
            sections.append("Options:\n" + rows(verb.options.map { (spelling($0), $0.help) }))
        }
        sections.append("Options of every command:\n" + rows(VerbTable.globalOptions.map { (spelling($0), $0.help) }))
        if !verb.notes.isEmpty { sections.append(verb.notes.map { "  \($0)\n" }.joined()) }
        return sections.joined(separator: "\n")
    }

    /// `-o, --output text|json`, with the letter's place kept free where there is none.
    private static func spelling(_ option: Option) -> String {
        let letter = option.short.map { "-\($0), " } ?? "    "
        let value = option.value.placeholder
        return letter + "--" + option.name + (value.isEmpty ? "" : " " + value) + (option.repeats ? " …" : "")
    }

    private static func rows(_ rows: [(String, String)]) -> String {
        let width = min(34, rows.map { Text.width($0.0) }.max() ?? 0)
        return rows.map { name, help in
            Text.width(name) > width
                ? "  \(name)\n  \(String(repeating: " ", count: width))  \(help)\n"
                : "  \(Text.pad(name, to: width))  \(help)\n"
        }.joined()
    }
}
