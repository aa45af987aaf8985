import Domain

/// What `submit` sends, made from options and text. Pure.
package struct Submission: Sendable, Equatable {
    package let repo: RepoName
    package let issue: Int?
    package let description: String?
    package let maxTurns: Int?
    package let maxBudget: Double?
    package let maxDuration: Int?
    package let preApproved: [String]
    package let approvalTimeout: Int?
    package let keepsTrace: Bool

    /// - Parameter text: the words of the command line, or what stdin held.
    /// - Throws: ``UserError`` when the repository or the work is missing.
    package init(_ invocation: Invocation, text: String) throws {
        let text = Self.trimmed(text)
        let named = try invocation.text("repo").map { try Self.repository($0) }
        let address = Self.issueAddress(in: text)
        // An address of another repository is only something to read: --repo says where to work.
        let found = named == nil || address?.repo == named ? address : nil
        guard let repo = named ?? found?.repo else {
            throw UserError(
                "which repository?", "Name it: --repo OWNER/NAME, or put the address of an issue into the text.")
        }
        let issue = invocation.whole("issue") ?? found?.issue
        let isAddressAlone = found.map { $0.word == text } ?? false
        let description = text.isEmpty || isAddressAlone ? nil : text
        guard issue != nil || description != nil else {
            throw UserError("what is there to do?", "Say it in words, or name an issue: --issue N. - reads stdin.")
        }
        self.repo = repo
        self.issue = issue
        self.description = description
        maxTurns = invocation.whole("max-turns")
        maxBudget = invocation.money("max-budget")
        maxDuration = invocation.seconds("max-duration")
        preApproved = invocation.list("pre-approve")
        approvalTimeout = invocation.seconds("approval-timeout")
        keepsTrace = invocation.has("trace")
    }

    /// The body of `POST /tasks`.
    package var body: JSONValue {
        .members([
            "repo": .string(repo.rawValue), "issue_number": issue.map { .integer(Int64($0)) },
            "task_description": description.map { .string($0) }, "max_turns": maxTurns.map { .integer(Int64($0)) },
            "max_budget_usd": maxBudget.map { .number($0) }, "max_duration_s": maxDuration.map { .integer(Int64($0)) },
            "initial_approvals": preApproved.isEmpty ? nil : .array(preApproved.map { .string($0) }),
            "approval_timeout_s": approvalTimeout.map { .integer(Int64($0)) }, "trace": keepsTrace ? true : nil,
        ])
    }

    // MARK: - Reading names and addresses

    /// `owner/name`, or the web address of a repository.
    package static func repository(_ text: String) throws -> RepoName {
        var path = text
        if let parts = webPath(text), parts.count == 2 { path = parts.joined(separator: "/") }
        if path.hasSuffix(".git") { path.removeLast(4) }
        guard let repo = RepoName(rawValue: path) else {
            throw UserError("'\(Text.visible(text))' is no repository", "It is written OWNER/NAME, as acme/shop.")
        }
        return repo
    }

    /// The first word of the text that is an issue: `https://host/owner/name/issues/7` or `owner/name#7`.
    package static func issueAddress(in text: String) -> (word: String, repo: RepoName, issue: Int)? {
        for part in text.split(whereSeparator: \.isWhitespace) {
            let word = String(part.reversed().drop { ".,;:!?)>]\"'".contains($0) }.reversed())
            if let parts = webPath(word), parts.count == 4, parts[2] == "issues",
                let repo = RepoName(owner: parts[0], name: parts[1]), let issue = Int(parts[3]), issue > 0
            {
                return (word, repo, issue)
            }
            let sides = word.split(separator: "#", omittingEmptySubsequences: false).map(String.init)
            if sides.count == 2, let repo = RepoName(rawValue: sides[0]), let issue = Int(sides[1]), issue > 0 {
                return (word, repo, issue)
            }
        }
        return nil
    }

    /// The parts of a web address behind its host, without query and fragment; nil when it is none.
    private static func webPath(_ text: String) -> [String]? {
        guard let scheme = ["https://", "http://"].first(where: { text.hasPrefix($0) }) else { return nil }
        let address = text.dropFirst(scheme.count).prefix { $0 != "?" && $0 != "#" }
        let parts = address.split(separator: "/").map(String.init)
        return parts.isEmpty ? nil : Array(parts.dropFirst())
    }

    private static func trimmed(_ text: String) -> String {
        String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}

/// A key that makes one invocation one task, however often its request has to be sent.
package enum IdempotencyKey {
    private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ")

    /// 130 random bits as 26 characters.
    package static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<26).map { _ in alphabet[Int.random(in: 0..<32, using: &generator)] })
    }

    /// - Throws: ``UserError`` when the gateway would refuse the key.
    package static func checked(_ key: String) throws -> String {
        let isPlain = key.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        guard isPlain, (1...128).contains(key.utf8.count) else {
            throw UserError(
                "--idempotency-key takes 1 to 128 letters, digits, '-' and '_', not '\(Text.visible(key))'")
        }
        return key
    }
}
