import Domain
import Forge
import Messaging
import Postgres
import Store
import Telemetry
import Tracing

/// From HYDRATING to a requested sandbox: check the repository, load every source that was asked for, build the prompt.
///
/// Fails closed: a check or a source that cannot be had fails the task with its reason, after retries where a retry can
/// help. A crash in between starts again from the checks; nothing outside was changed.
struct Preparation: Sendable {
    let pool: Pool
    let forges: ForgeAccess
    let screening: IssueScreening
    let settings: OrchestratorSettings
    let tracer: Tracer
    let log: Logger

    func prepare(_ task: TaskRecord, _ step: Step) async throws -> Outcome {
        let span = tracer.begin(
            "prepare", in: TaskTrace(task.traceparent)?.task,
            [
                "bgagent.task.id": .text(task.id.rawValue), "bgagent.attempt": SpanValue(task.attempt),
            ])
        do {
            let failure = try await prepare(task, step, span?.context)
            span?.finish(errorType: failure?.code)
        } catch {
            span?.finish(failed: error)
            throw error
        }
        return .done
    }

    /// Returns why there is nothing to run, when that is how it ended.
    private func prepare(_ task: TaskRecord, _ step: Step, _ trace: TraceContext?) async throws -> TaskFailure? {
        let forge: any Forge
        let repository: ForgeRepository
        let issue: ForgeIssue?
        do {
            forge = try forges.forge(credentialRef: task.settings["credential_ref"]?.string)
            repository = try await tracer.span("check", in: trace) { try await check(task, forge) }
            issue = try await tracer.span("hydrate", in: trace) { try await loadIssue(task, forge) }
            if let issue { try await screening.require(issue) }
        } catch let error as ForgeError {
            return try await fail(task, step, error.failure(task.repo, doing: "Preparing"), retry: error.isRetryable)
        } catch let failure as TaskFailure {
            return try await fail(task, step, failure, retry: failure.retryable)
        }
        let prompt = PromptBuilder.build(task, issue: issue, budget: settings.tokenBudget)
        let version = try prompt.version()
        let base = task.baseBranch ?? repository.defaultBranch
        let (settings, title) = (self.settings, issue?.title)
        try await step.commit { tx in
            guard let current = try TaskStore.lock(task.id, in: tx), current.version == task.version else {
                throw StoreError.conflict
            }
            try tx.query("UPDATE tasks SET base_branch = \(base) WHERE task_id = \(task.id.rawValue)")
            try TaskLog.append(
                .hydrationCompleted, to: task.id, attempt: task.attempt,
                [
                    "sources": .array(prompt.sources.map { .string($0) }),
                    "token_estimate": JSONValue(prompt.tokenEstimate), "truncated": .bool(prompt.isTruncated),
                    "prompt_version": .string(version),
                ], in: tx)
            let payload = try Self.payload(
                task, prompt, version: version, base: base, title: title, settings: settings, in: tx)
            try SessionStore.request(task, backend: settings.backend, payload: payload, in: tx)
        }
        return nil
    }

    private func check(_ task: TaskRecord, _ forge: any Forge) async throws -> ForgeRepository {
        let repository = try await forge.repository(task.repo)
        if repository.isArchived { throw OrchestratorFailures.archived(task.repo) }
        if !repository.canPush { throw OrchestratorFailures.noPushPermission(task.repo) }
        return repository
    }

    private func loadIssue(_ task: TaskRecord, _ forge: any Forge) async throws -> ForgeIssue? {
        guard let number = task.issueNumber else { return nil }
        let issue = try await forge.issue(number, of: task.repo)
        if issue.isPullRequest { throw OrchestratorFailures.issueIsPullRequest(number) }
        if !issue.isOpen { throw OrchestratorFailures.issueClosed(number) }
        return issue
    }

    /// Another try later where that may help and one is left; else the end, with the reason.
    private func fail(
        _ task: TaskRecord, _ step: Step, _ failure: TaskFailure, retry: Bool
    ) async throws -> TaskFailure {
        let policy = settings.step
        let ended = try await step.commit { tx -> Bool in
            try TaskStore.lock(unchanged: task, in: tx)
            if retry, try TaskStore.retryStep(task, policy: policy, in: tx) { return false }
            try TaskLog.append(
                .preflightFailed, to: task.id, attempt: task.attempt,
                ["reason": .string(failure.code), "detail": .string(failure.description)], in: tx)
            try TaskStore.move(task, on: .failed, .failure(failure), in: tx)
            return true
        }
        log.info(ended ? "task failed its checks" : "checks will be tried again", ["code": failure.code])
        return failure
    }

    /// What the agent is given; see docs/messages.md. Times are left to the moment of the asking.
    private static func payload(
        _ task: TaskRecord, _ prompt: Prompt, version: String, base: String, title: String?,
        settings: OrchestratorSettings, in tx: Connection
    ) throws -> JSONValue {
        let configured = task.settings
        let checkpoint = try CheckpointStore.newest(task.id, in: tx)
        let saved: JSONValue =
            checkpoint.map { saved in
                [
                    "turn": JSONValue(saved.turn), "commit": .string(saved.commit),
                    "ref": .string("refs/bgagent/\(task.id)/wip"),
                ]
            } ?? .null
        let turns = try tx.query("SELECT turn FROM task_heads WHERE task_id = \(task.id.rawValue)").only()
        return [
            "payload_version": 1,
            "task": [
                "task_id": .string(task.id.rawValue), "attempt": JSONValue(task.attempt),
                "repo": .string(task.repo.rawValue), "branch": .string(task.branchName), "base_branch": .string(base),
                "issue_number": JSONValue(task.issueNumber), "title": JSONValue(title),
                "description": JSONValue(task.description),
            ],
            "prompt": [
                "user": .string(prompt.user), "system": .string(prompt.system), "prompt_version": .string(version),
            ],
            "limits": [
                "max_turns": JSONValue(task.maxTurns),
                "max_budget_usd": task.maxBudget.map { .number($0.dollars) } ?? .null,
                "verify_attempts": JSONValue(settings.verifyAttempts),
            ],
            "model": ["name": .string(task.model)],
            "commands": [
                "setup": configured["setup_command"] ?? .null, "build": configured["build_command"] ?? .null,
                "test": configured["test_command"] ?? .null, "lint": configured["lint_command"] ?? .null,
            ],
            "commit": [
                "name": configured["commit_name"] ?? "bgagent",
                "email": configured["commit_email"] ?? "bgagent@localhost",
            ],
            "checkpoint": saved, "turns_used": JSONValue(try turns.get("turn", as: Int.self)), "trace": false,
            "policies": [], "pre_approvals": [], "tools": ["Bash", "Read", "Write", "Edit", "Grep", "Glob"],
        ]
    }
}
