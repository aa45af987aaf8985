import Domain
import Postgres
import Store

/// What a body changes of a repository's settings.
struct RepoChange: Sendable {
    fileprivate(set) var values: [ColumnValue] = []
    /// The new text of its own rules, which has to be checked before it is stored.
    fileprivate(set) var policies: String?
    /// Names that have to be users'.
    fileprivate(set) var approvers: [String] = []

    fileprivate mutating func add<Value: PostgresEncodable>(_ column: String, _ change: Change<Value>) {
        switch change {
        case .keep: break
        case .clear: values.append(ColumnValue(column, "DEFAULT"))
        case .set(let value): values.append(ColumnValue(column, "\(value)"))
        }
    }
}

/// The settings of a repository as a body gives them. A null clears one: the platform's value stands again.
enum RepoFields {
    /// Reads every setting; nothing is missing from what comes back but what the body does not name.
    static func read(_ fields: inout FieldReader) -> RepoChange {
        var change = RepoChange()
        func add<Value: PostgresEncodable>(_ column: String, _ value: Change<Value>) { change.add(column, value) }
        if case .set(let forge) = fields.text("forge", "where the repository is: github"), forge != "github" {
            fields.refuse("forge \(FieldReader.quoted(forge))")
        }
        add(
            "default_branch",
            fields.text(
                "default_branch", "branch that work starts from; the forge's own unless it is given",
                form: "the name of a branch", where: isBranch))
        add("model", fields.text("model", "model of the agent"))
        add("max_turns", fields.integer("max_turns", "turns of tasks that name none", in: 1...500))
        add("max_budget_usd", fields.money("max_budget_usd", "budget of tasks that name none", in: 0.01...100))
        add("max_duration_s", fields.integer("max_duration_s", "working time of tasks that name none", in: 1...604_800))
        add("max_concurrent", fields.integer("max_concurrent", "tasks at work at once", in: 1...1000))
        for (name, purpose) in [
            ("setup_command", "what prepares a checkout"), ("build_command", "what builds it"),
            ("test_command", "what tests it"), ("lint_command", "what lints it"),
        ] {
            add(name, fields.text(name, purpose, length: 1...4000))
        }
        add(
            "system_prompt_overrides",
            fields.text("system_prompt_overrides", "what the agent is told of this repository", length: 1...20_000))
        add(
            "credential_ref",
            fields.text(
                "credential_ref", "file with the forge's token, under the secrets directory",
                form: "a plain file name", where: isFileName))
        add("allow_ci_changes", fields.boolean("allow_ci_changes", "whether an agent may change CI configuration"))
        add(
            "allow_secrets",
            fields.boolean(
                "allow_secrets", "whether an agent may push what seems to hold secrets, as made-up ones in tests"))
        readApprovals(&fields, into: &change)
        readQuestions(&fields, into: &change)
        add("commit_name", fields.text("commit_name", "author of commits", form: "one line", where: isLine))
        add("commit_email", fields.text("commit_email", "author's address", form: "one line", where: isLine))
        add(
            "access",
            fields.choice("access", "open: every member; restricted: those with a grant alone", as: RepoAccess.self))
        add("notifications", fields.notifications("who hears of its tasks"))
        fields.notYet(
            "compute", "fork", "egress_allowlist", "egress_presets", "mcp_servers", "skills")
        return change
    }

    /// What agents have to ask for, and whom.
    private static func readApprovals(_ fields: inout FieldReader, into change: inout RepoChange) {
        change.add(
            "approval_gates",
            fields.boolean("approval_gates", "whether agents ask people before they do what the soft rules name"))
        let policies = fields.text("policies", "its own rules beside the built-in ones, in Cedar", length: 0...65_536)
        change.add("policies", policies)
        change.policies = policies.value
        let approvers = Self.approvers(&fields)
        change.add("approvers", approvers)
        change.approvers = approvers.value ?? []
        change.add(
            "second_person",
            fields.boolean("second_person", "whether nobody may approve what they submitted themselves"))
        change.add(
            "approval_gate_cap", fields.integer("approval_gate_cap", "how often a task may ask", in: 1...500))
        change.add(
            "approval_timeout_s",
            fields.integer(
                "approval_timeout_s", "no gate waits longer; the rules say unless it is given", in: 30...3_600))
    }

    /// Of the agent's own questions.
    private static func readQuestions(_ fields: inout FieldReader, into change: inout RepoChange) {
        change.add(
            "unanswered_question",
            fields.choice(
                "unanswered_question", "continue: the agent goes on without an answer; park: the task waits for one",
                as: UnansweredQuestion.self))
    }

    private static func approvers(_ fields: inout FieldReader) -> Change<[String]> {
        let schema: JSONValue = [
            "type": "array", "maxItems": 100, "items": ["type": "string"],
            "description": "names of the users who may approve; none = whoever may steer the task",
        ]
        return fields.value("approvers", schema: schema) { value in
            let names = value.array?.compactMap(\.string)
            guard let names, names.count == value.array?.count, names.count <= 100,
                names.allSatisfy({ (1...63).contains($0.utf8.count) && !$0.utf8.contains(0) })
            else { return .problem("must be a list of at most 100 names of users") }
            return .value(names)
        }
    }

    private static func isFileName(_ text: String) -> Bool {
        text != "." && text != ".."
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                    || byte == 46 || byte == 95
            }
    }

    /// What git takes for a branch, but for its rarest liberties.
    private static func isBranch(_ text: String) -> Bool {
        let isPlain = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"~^:?*[\\@{".utf8.contains($0) }
        return isPlain && !text.hasPrefix("-") && !text.hasPrefix("/") && !text.hasSuffix("/") && !text.hasSuffix(".")
            && !text.hasSuffix(".lock") && !text.contains("..") && !text.contains("//") && !text.contains("/.")
            && !text.hasPrefix(".")
    }

    private static func isLine(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && $0 != "<" && $0 != ">" }
    }
}

extension FieldReader {
    /// An amount as the database keeps it.
    fileprivate mutating func money(
        _ name: String, _ purpose: String, in range: ClosedRange<Double>
    ) -> Change<Money> {
        switch dollars(name, purpose, in: range) {
        case .keep: .keep
        case .clear: .clear
        case .set(let amount): .set(Money(micros: amount.micros))
        }
    }
}
