import Crypto
import Domain
import HTTPTypes
import Postgres
import Store

/// A submit as the client sent it, checked as far as that is possible without the database.
struct Submission: Sendable {
    let body: TaskBody
    let repo: RepoName
    /// The client's key with the hash of the body: same members and values are the same body, however written.
    let key: IdempotencyKey?

    init(_ call: Call) throws {
        _ = try call.query { _ in }
        let text = call.request.headers["Idempotency-Key"]
        if let text, !Self.isKey(text) {
            throw APIError.invalid("Idempotency-Key must be 1 to 128 letters, digits, '-' and '_'")
        }
        let json = try call.json()
        var fields = FieldReader(json)
        body = TaskBody(&fields)
        try fields.finish()
        guard let repo = body.repo else { throw APIError.invalid("repo is missing") }
        self.repo = repo
        key = try text.map { IdempotencyKey(key: $0, bodyHash: try SHA256.hex(json.text)) }
    }

    /// The task that is to be: limits task over repository over platform, settings as they are now. Throws why there
    /// is to be none.
    ///
    /// - Parameters:
    ///   - allowances: the body's initial approvals, as the policy service has read them.
    ///   - traceparent: the request's own place in its trace: everything of the task is a part of it.
    func task(
        _ context: SubmitContext, _ settings: GatewaySettings, allowances: [String], traceparent: String
    ) throws -> NewTask {
        guard let known = context.repo else {
            throw Self.notOnboarded(repo)
        }
        let limit = settings.maxQueuedPerUser
        if let waiting = context.waiting, waiting >= limit {
            throw Self.tooMany(limit)
        }
        let id = context.taskID
        var task = NewTask(
            id: id, userID: context.principal.userID, repo: repo, workflow: TaskBody.workflow,
            branchName: "bgagent/\(id)/\(body.slug)", model: known.model ?? settings.model,
            maxTurns: body.maxTurns ?? known.maxTurns ?? settings.maxTurns,
            maxDurationSeconds: body.maxDurationSeconds ?? known.maxDurationSeconds ?? settings.maxDurationSeconds,
            maxAttempts: settings.maxAttempts, settings: known.taskSettings, notifications: body.notifications,
            traceparent: traceparent)
        if case .object(var frozen) = task.settings {
            if let seconds = body.approvalTimeoutSeconds { frozen["approval_timeout_s"] = JSONValue(seconds) }
            if body.keepsTrace { frozen["trace"] = true }
            task.settings = .object(frozen)
        }
        task.allowances = allowances
        task.issueNumber = body.issueNumber
        task.description = body.description
        task.baseBranch = known.defaultBranch
        task.maxBudget =
            body.maxBudget.map { Money(micros: $0.micros) } ?? known.maxBudget
            ?? settings.maxBudget.map { Money(micros: $0.micros) }
        return task
    }

    static func tooMany(_ limit: Int) -> APIError {
        APIError.limited(
            "admission_rejected: \(limit) tasks of yours wait already; cancel some or wait", retryAfter: 300)
    }

    /// Also the answer about a repository that the caller is not to know of.
    static func notOnboarded(_ repo: RepoName) -> APIError {
        APIError(422, "REPO_NOT_ONBOARDED", "\(repo) is not onboarded; an administrator adds it first")
    }

    private static func isKey(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                    || byte == 95
            }
    }
}

extension Result where Success == Submission, Failure == any Error {
    /// The repository, when the body was good.
    var repo: RepoName? { try? get().repo }
}
