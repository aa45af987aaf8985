import Domain

/// What POST /tasks asks for, checked but not yet completed by the repository's and the platform's limits.
struct TaskBody: Sendable {
    static let workflow = "coding/new-task-v1"
    /// What the contract knows and nothing here runs yet, with the names of older clients.
    private static let laterWorkflows: Set<String> = [
        "coding/pr-iteration-v1", "coding/pr-review-v1", "default/agent-v1", "pr_iteration", "pr_review",
    ]

    let repo: RepoName?
    let issueNumber: Int?
    let description: String?
    let maxTurns: Int?
    let maxBudget: USD?
    let maxDurationSeconds: Int?
    let notifications: JSONValue
    /// How long its gates wait; nil = as the repository says.
    let approvalTimeoutSeconds: Int?
    /// Scopes that whoever submits allows beforehand, as they wrote them.
    let initialApprovals: [String]
    /// All that its agent says and does is kept for a while.
    let keepsTrace: Bool

    init(_ fields: inout FieldReader) {
        repo = fields.repo("repo", "the repository to work on").value
        issueNumber = fields.integer("issue_number", "the issue to solve", in: 1...Int(Int32.max)).value
        description = fields.text("task_description", "what there is to do", length: 1...10_000).value
        maxTurns = fields.integer("max_turns", "turns of the agent at most", in: 1...500).value
        maxBudget = fields.dollars("max_budget_usd", "spending at most", in: 0.01...100).value
        maxDurationSeconds = fields.integer("max_duration_s", "working time at most", in: 1...604_800).value
        notifications = fields.notifications("who hears of it, over what repository and user say").value ?? [:]
        Self.readWorkflow(&fields)
        approvalTimeoutSeconds =
            fields.integer("approval_timeout_s", "no gate of it waits longer for a decision", in: 30...3_600).value
        initialApprovals = fields.scopes("initial_approvals", "what its agent may do without asking").value ?? []
        fields.notYet("pr_number", "attachments")
        keepsTrace =
            fields.boolean("trace", "whether all that its agent says and does is kept for a week").value ?? false
        if issueNumber == nil, description == nil {
            fields.reject("task_description or issue_number must say what there is to do")
        }
    }

    private static func readWorkflow(_ fields: inout FieldReader) {
        let names = ["workflow_ref", "task_type"].compactMap { name in
            fields.text(name, "the workflow; \(Self.workflow) unless it is given").value.map { (name, $0) }
        }
        for (name, text) in names {
            switch text {
            case workflow, workflow + "@1.0.0", "new_task": continue
            case _ where laterWorkflows.contains(String(text.prefix { $0 != "@" })): fields.refuse("\(name) \(text)")
            default: fields.reject("\(name) names no workflow; there is \(workflow)")
            }
        }
    }

    /// The last part of the branch's name: the first words of the work, in letters that every tool takes.
    var slug: String {
        var slug = ""
        for scalar in (description ?? "").unicodeScalars {
            switch scalar {
            case "a"..."z", "0"..."9": slug.unicodeScalars.append(scalar)
            case "A"..."Z": slug += String(scalar).lowercased()
            case "\n": if !slug.isEmpty { return Self.trimmed(slug, self) }
            default: if !slug.isEmpty, !slug.hasSuffix("-") { slug += "-" }
            }
            if slug.utf8.count >= 50 { break }
        }
        return Self.trimmed(slug, self)
    }

    private static func trimmed(_ slug: String, _ body: TaskBody) -> String {
        var slug = Substring(slug)
        while slug.hasSuffix("-") { slug.removeLast() }
        if slug.isEmpty { return body.issueNumber.map { "issue-\($0)" } ?? "task" }
        return String(slug)
    }
}
