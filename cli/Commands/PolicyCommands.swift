import Domain
import FoundationEssentials
import HTTPTypes

/// The verbs about rules, and about the log of what was decided.
package enum PolicyCommands {
    private static let limit = 1 << 16

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let found = try await policies(invocation, surroundings)
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print((found.member("rules") ?? .null).encoded(pretty: true))
            return .success
        }
        var table = Table(["RULE", "TIER", "SEVERITY", "FROM", "SAYS"], flexible: 4)
        let rules = found.member("rules") ?? .null
        for rule in ["hard", "soft"].flatMap({ rules.member($0)?.array ?? [] }) {
            table.add([
                .init(rule.text("rule_id") ?? "–"), .init(rule.text("tier") ?? "–"),
                .init(rule.text("severity") ?? "–"),
                .init(rule.text("origin") == "repository" ? "repository" : "built in"),
                .init(rule.text("summary") ?? ""),
            ])
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        if found.member("approval_gates")?.bool == false {
            console.note(gatesAreOff(try name(invocation)))
        }
        return .success
    }

    @Sendable package static func show(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let found = try await policies(invocation, surroundings)
        let text = found.text("text") ?? ""
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
        } else if text.isEmpty {
            console.note(
                "It has no rules of its own. bgagent repo set \(try name(invocation)) --policies @FILE sets them.")
        } else {
            let whole = text.hasSuffix("\n") ? text.dropLast() : text[...]
            // By bytes: a carriage return before the line feed makes one character of both.
            for line in whole.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
                let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
                console.print(Text.visible(String(Substring(text))))
            }
        }
        return .success
    }

    @Sendable package static func test(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        var body: [String: JSONValue] = ["repo": .string(try name(invocation).rawValue)]
        let tool = invocation.text("tool") ?? "Bash"
        body["tool_name"] = .string(tool)
        body["input"] = try input(invocation, tool)
        let scopes = invocation.list("scope")
        if !scopes.isEmpty { body["scopes"] = .array(scopes.map { .string($0) }) }
        if let file = invocation.text("file") { body["policies"] = .string(try read(file)) }
        let answer = try await surroundings.client(for: invocation).call(
            "POST", "/policies/test", body: .object(body)
        ).data
        let console = surroundings.console
        let decision = answer.member("decision") ?? .null
        if invocation.wantsJSON {
            console.print(answer.encoded(pretty: true))
        } else {
            for line in lines(decision) { console.print(line) }
            if decision.text("effect") == "ask", answer.member("approval_gates")?.bool == false {
                console.note(gatesAreOff(try name(invocation)))
            }
        }
        return decision.text("effect") == "allow" ? .success : .failure
    }

    @Sendable package static func lint(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let word = try invocation.required("FILE")
        let text = word == "-" ? try standardInput(surroundings.input) : try read(word)
        let found = try await surroundings.client(for: invocation).call(
            "POST", "/policies/validate", body: ["policies": .string(text)]
        ).data
        let console = surroundings.console
        let isValid = found.member("valid")?.bool ?? false
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
            return isValid ? .success : .failure
        }
        for (kind, member) in [("error", "errors"), ("warning", "warnings")] {
            for finding in found.member(member)?.array ?? [] {
                let place = "\(word == "-" ? "stdin" : word):\(finding.whole("line") ?? 1)"
                console.print("\(place): \(kind): \(Text.visible(finding.text("message") ?? ""))")
            }
        }
        let count = found.member("rules")?.array?.count ?? 0
        let rules = "\(count) \(count == 1 ? "rule" : "rules")"
        console.print(isValid ? "\(rules) can be taken." : "These rules cannot be taken.")
        return isValid ? .success : .failure
    }

    // MARK: - Audit

    @Sendable package static func verifyAudit(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let seal = invocation.text("seal").map { "?seal=\(Percent.encode($0))" } ?? ""
        let found = try await surroundings.client(for: invocation).call(
            "GET", "/audit/verification\(seal)", timeout: .seconds(70)
        ).data
        let console = surroundings.console
        let isWhole = found.member("ok")?.bool ?? false
        if invocation.wantsJSON {
            console.print(found.encoded(pretty: true))
            return isWhole ? .success : .failure
        }
        if let breach = found.whole("breach") {
            console.print("The audit log is broken: entry \(breach) was changed, or one before it is missing.")
        } else if found.member("has_seal")?.bool == false {
            console.print("The audit log is broken: the entry with that seal is gone.")
        } else {
            console.print("The audit log is whole: \(found.whole("entries") ?? 0) entries.")
        }
        if let head = found.text("head") { console.print("Head: \(Text.visible(head))") }
        return isWhole ? .success : .failure
    }

    // MARK: - Pieces

    private static func gatesAreOff(_ repo: RepoName) -> String {
        "Its gates are off, so that soft rules ask nobody: bgagent repo set \(repo) --approval-gates yes"
    }

    private static func name(_ invocation: Invocation) throws -> RepoName {
        try Submission.repository(try invocation.required("OWNER/NAME"))
    }

    private static func policies(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> JSONValue {
        let repo = try name(invocation)
        let path = "/repos/\(Percent.encode(repo.owner))/\(Percent.encode(repo.name))/policies"
        return try await surroundings.client(for: invocation).call("GET", path).data
    }

    private static func input(_ invocation: Invocation, _ tool: String) throws -> JSONValue {
        let command = invocation.words("COMMAND").first
        guard let text = invocation.text("input") else {
            guard tool == "Bash", let command else {
                throw UserError(
                    "what is the tool called with?", "Say it: --input '{\"file_path\": \"…\"}', or a command for Bash.")
            }
            return ["command": .string(command)]
        }
        guard command == nil else { throw UserError("the input is given twice", "Keep the command or --input.") }
        guard let value = try? JSONText.decode(JSONValue.self, text), value.object != nil else {
            throw UserError("--input takes a JSON object", "As --input '{\"command\": \"ls\"}'")
        }
        return value
    }

    private static func lines(_ decision: JSONValue) -> [String] {
        let effect = decision.text("effect") ?? ""
        let head =
            switch effect {
            case "allow": "It may run."
            case "ask": "A person is asked, for \(decision.whole("timeout_s") ?? 300) s at most."
            default: "It may never run."
            }
        let reasons = decision.member("reasons")?.array?.compactMap(\.string) ?? []
        let rules = decision.member("rule_ids")?.array?.compactMap(\.string) ?? []
        let scopes = decision.member("suggested_scopes")?.array?.compactMap(\.string) ?? []
        return [head] + reasons.map { "  \(Text.visible($0))" }
            + (rules.isEmpty ? [] : ["Rules: \(rules.map(Text.visible).joined(separator: ", "))"])
            + (scopes.isEmpty ? [] : ["Scopes: \(scopes.map(Text.visible).joined(separator: ", "))"])
    }

    private static func read(_ path: String) throws -> String {
        guard let data = try? Data(contentsOf: URL(filePath: path)), let text = String(data: data, encoding: .utf8)
        else {
            throw UserError("cannot read '\(Text.visible(path))' as text", "Name a file of rules in Cedar.")
        }
        return text
    }

    private static func standardInput(_ input: Input) throws -> String {
        guard let bytes = input.readAll(limit), let text = String(validating: bytes, as: UTF8.self) else {
            throw UserError("stdin is no UTF-8 text of at most 64 KB", "Rules are written in Cedar.")
        }
        return text
    }
}
