import Testing

@testable import CLI

@Suite struct ParserTests {
    private func parse(_ line: String) throws -> Invocation {
        let words = line.split(separator: " ").map(String.init)
        guard case .run(let invocation) = try Parser().parse(words) else { throw UserError("not a run") }
        return invocation
    }

    @Test func `options stand before, behind and between words`() throws {
        for line in [
            "--output json repo add acme/shop --max-turns 5", "repo add --max-turns=5 acme/shop -o json",
            "repo add --output=json --max-turns 5 -- acme/shop",
        ] {
            let invocation = try parse(line)
            #expect(invocation.verb.name == "repo add")
            #expect(invocation.argument("OWNER/NAME") == "acme/shop")
            #expect(invocation.whole("max-turns") == 5)
            #expect(invocation.wantsJSON)
        }
    }

    @Test func `a lone dash is a word and words of the text stay together`() throws {
        #expect(try parse("submit -").words("TEXT") == ["-"])
        #expect(try parse("submit fix the test --wait").words("TEXT") == ["fix", "the", "test"])
        #expect(try parse("submit -- --wait is broken").words("TEXT") == ["--wait", "is", "broken"])
    }

    @Test func `values are read as the table says`() throws {
        let invocation = try parse("submit x --max-budget 2.50 --max-duration 2h --max-turns 7")
        #expect(invocation.money("max-budget") == 2.5)
        #expect(invocation.seconds("max-duration") == 7200)
        #expect(invocation.whole("max-turns") == 7)
        #expect(invocation.has("wait") == false)
        #expect(try parse("repo set a/b --allow-ci-changes no").truth("allow-ci-changes") == false)
    }

    @Test(arguments: [
        ("90", 90), ("90s", 90), ("15m", 900), ("8h", 28_800), ("2d", 172_800),
    ])
    func `times have units`(text: String, seconds: Int) {
        #expect(OptionCheck.seconds(text) == seconds)
    }

    @Test(arguments: ["", "0", "-5", "1.5h", "h", "5w", "99999999999999999999", "9999999999999999d", "５"])
    func `what is no time is refused`(text: String) {
        #expect(OptionCheck.seconds(text) == nil)
    }

    @Test(arguments: [("5", 5.0), ("2.50", 2.5), ("0.01", 0.01)])
    func `amounts are dollars`(text: String, amount: Double) {
        #expect(OptionCheck.money(text) == amount)
    }

    @Test(arguments: ["", "0", "-1", "1e3", "$5", ".5", "5.", "1.23456", "nan", "0x10", "inf"])
    func `what is no amount is refused`(text: String) {
        #expect(OptionCheck.money(text) == nil)
    }

    @Test func `a repeated option is kept whole and a single one given twice is refused`() throws {
        let invocation = try parse("repo set a/b --notify slack=#x --notify email=off")
        #expect(invocation.list("notify") == ["slack=#x", "email=off"])
        #expect(throws: UserError("--model is given twice", "Keep one of them.")) {
            try parse("repo set a/b --model x --model y")
        }
    }

    /// What a wrong line says: every message names the wrong word, and what to do.
    @Test(arguments: [
        ("submt", "unknown command 'submt'", "Did you mean 'bgagent submit'?"),
        ("xyzzy", "unknown command 'xyzzy'", "bgagent help lists every command."),
        ("repo", "'bgagent repo' needs one more word: add, list, show, set, remove", "bgagent help repo"),
        ("repo ad", "unknown command 'repo ad'", "Did you mean 'bgagent repo add'?"),
        (
            "watch --ouput json", "unknown option '--ouput'",
            "Did you mean '--output'? bgagent help watch lists the options."
        ),
        ("watch -x", "unknown option '-x'", "bgagent help watch lists the options."),
        ("--wait submit", "unknown option '--wait' before a command", "Options of a command stand behind it"),
        ("watch", "bgagent watch: TASK is missing", "Usage: bgagent watch TASK [options]"),
        ("watch a b", "bgagent watch: 'b' is one word too many", "Usage: bgagent watch TASK [options]"),
        ("list --limit", "--limit needs a value: --limit N", "how many (default 20)"),
        ("list --limit --all", "--limit needs a value: --limit N", "how many (default 20)"),
        ("list --limit 0", "--limit takes a whole number from 1, not '0'", "how many (default 20)"),
        ("list --all=yes", "--all takes no value", nil),
        ("list -o jsn", "--output can be text, json, not 'jsn'. Did you mean 'json'?", "text for people"),
        ("submit x --max-budget $5", "--max-budget takes an amount in US dollars like 2.50, not '$5'", "dollars"),
        ("submit x --max-duration soon", "--max-duration takes a time like 90s, 15m, 8h or 2d, not 'soon'", "time"),
        ("repo add a/b --allow-ci-changes maybe", "--allow-ci-changes takes yes or no, not 'maybe'", "whether"),
        ("completion tcsh", "SHELL can be bash, zsh, fish, not 'tcsh'", "Usage: bgagent completion SHELL"),
    ])
    func `a wrong line says what is wrong and what to do`(line: String, message: String, advice: String?) throws {
        let words = line.split(separator: " ").map(String.init)
        let error = try #require(throws: UserError.self) { try Parser().parse(words) }
        #expect(error.message.hasPrefix(message), "\(error.message)")
        #expect(error.advice == nil ? advice == nil : error.advice?.hasPrefix(advice ?? "-") == true, "\(error)")
    }

    @Test(arguments: [
        (["--help"], []), (["-h"], []), (["help"], []), (["help", "repo", "add"], ["repo", "add"]),
        (["repo", "add", "--help"], ["repo", "add"]), (["repo", "--help"], ["repo"]), (["--help", "watch"], ["watch"]),
        (["watch", "x", "-h"], ["watch"]), ([], []),
    ])
    func `help is asked for in every usual way`(words: [String], path: [String]) throws {
        guard case .help(let found) = try Parser().parse(words) else {
            Issue.record("not taken for help: \(words)")
            return
        }
        #expect(found == path)
    }

    @Test func `the table is sound`() {
        #expect(Set(VerbTable.verbs.map(\.name)).count == VerbTable.verbs.count)
        for verb in VerbTable.verbs {
            let names = verb.allOptions.map(\.name)
            #expect(Set(names).count == names.count, "\(verb.name) has an option twice")
            let letters = verb.allOptions.compactMap(\.short)
            #expect(Set(letters).count == letters.count, "\(verb.name) has a letter twice")
            #expect(verb.arguments.dropLast().allSatisfy { $0.count == .one }, "\(verb.name) is ambiguous")
            #expect(!VerbTable.verbs.contains { $0.path != verb.path && $0.path.starts(with: verb.path) })
        }
    }

    @Test func `a suggestion is near or none`() {
        #expect(Suggestion.nearest(to: "stauts", among: ["status", "submit"]) == "status")
        #expect(Suggestion.nearest(to: "conf", among: ["configure", "cancel"]) == "configure")
        #expect(Suggestion.nearest(to: "q", among: ["status", "submit"]) == nil)
        #expect(Suggestion.distance("ab", "ba") == 1)
        #expect(Suggestion.distance("", "abc") == 3)
    }
}
