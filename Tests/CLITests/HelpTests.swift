import Glibc
import Testing

@testable import CLI

@Suite struct HelpTests {
    @Test(arguments: [([], "help.txt"), (["submit"], "help-submit.txt"), (["repo"], "help-repo.txt")])
    func `help is as promised`(words: [String], file: String) throws {
        try Golden.expect(try Help.text(words), matches: file)
    }

    @Test func `every line of help fits a terminal of 100 columns`() throws {
        for words in [[]] + VerbTable.verbs.map(\.path) {
            for line in try Help.text(words).split(separator: "\n") {
                #expect(Text.width(String(line)) <= 100, "\(line)")
            }
        }
    }

    @Test func `help for a word that is none suggests the nearest`() {
        #expect(throws: UserError("unknown command 'wtach'", "Did you mean 'bgagent watch'?")) {
            try Help.text(["wtach"])
        }
    }

    @Test func `no words at all show the overview and fail`() async {
        let outcome = await Session(environment: [:]).run()
        #expect(outcome.code == .failure)
        #expect(outcome.output.hasPrefix("bgagent hands"))
    }

    @Test func `the version is one line`() async {
        let outcome = await Session(environment: [:]).run("--version")
        #expect(outcome.code == .success)
        #expect(outcome.output == "bgagent \(Help.version)\n")
    }
}

@Suite struct CompletionTests {
    /// What bash answers to a script on its stdin.
    private func bash(_ script: String, syntaxOnly: Bool = false) throws -> (status: Int32, output: String) {
        var name = Array("/tmp/bgagent-completion-XXXXXX\0".utf8CString)
        let descriptor = mkstemp(&name)
        try #require(descriptor >= 0)
        let path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(path) }
        #expect(Terminal.write(script, to: descriptor))
        close(descriptor)
        let pipe = try #require(popen("bash \(syntaxOnly ? "-n " : "")\(path) 2>&1", "r"))
        var output: [UInt8] = []
        while case let byte = fgetc(pipe), byte != EOF { output.append(UInt8(byte)) }
        return (pclose(pipe), String(decoding: output, as: UTF8.self))
    }

    @Test func `the bash script is valid`() throws {
        let (status, output) = try bash(Completion.script("bash"), syntaxOnly: true)
        #expect(status == 0)
        #expect(output == "")
    }

    @Test(arguments: [
        ("''", "submit retry status watch"), ("re", "retry repo"), ("repo ''", "add list show set remove"),
        ("list --output ''", "text json"), ("submit --wa", "--wait"), ("completion ''", "bash zsh fish"),
        ("--profile x wat", "watch"), ("repo add a/b --allow-ci-changes ''", "yes no"), ("submit --repo ''", ""),
    ])
    func `bash offers what may follow`(typed: String, offers: String) throws {
        let script = """
            \(Completion.script("bash"))
            COMP_WORDS=(bgagent \(typed)); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _bgagent
            echo "${COMPREPLY[*]}"
            """
        let (status, output) = try bash(script)
        #expect(status == 0)
        #expect(output.hasPrefix(offers), "\(output)")
        if offers.isEmpty { #expect(output == "\n") }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func `every verb and option is offered in every shell`(shell: String) {
        let script = Completion.script(shell)
        for verb in VerbTable.verbs {
            for word in verb.path { #expect(script.contains(word)) }
            for option in verb.allOptions { #expect(script.contains(option.name), "\(option.name) in \(shell)") }
        }
    }
}
