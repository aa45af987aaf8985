import Domain
import Forge
import Messaging
import Postgres
import Store
import Telemetry
import Tracing

/// From FINALIZING to the end: believe the remote, not the report; open the pull request exactly once; tell the outcome.
///
/// A crash at any point repeats the step: the pull request is looked up by its branch before it is asked for.
struct Finalization: Sendable {
    let pool: Pool
    let forges: ForgeAccess
    let settings: OrchestratorSettings
    let tracer: Tracer
    let log: Logger

    func finalize(_ task: TaskRecord, _ step: Step) async throws -> Outcome {
        let span = tracer.begin(
            "finalize", in: TaskTrace(task.traceparent)?.task,
            [
                "bgagent.task.id": .text(task.id.rawValue), "bgagent.attempt": SpanValue(task.attempt),
            ])
        do {
            let failure = try await finalize(task, step, span?.context)
            span?.finish(errorType: failure?.code)
        } catch {
            span?.finish(failed: error)
            throw error
        }
        return .done
    }

    /// Returns what kept it from being done, when that is how it ended.
    private func finalize(_ task: TaskRecord, _ step: Step, _ trace: TraceContext?) async throws -> TaskFailure? {
        let stored = try await pool.run { connection in
            (
                try SessionStore.result(task.id, attempt: task.attempt, in: connection),
                try PullRequestStore.isIntended(task.id, in: connection),
                try connection.query(
                    "SELECT (cost_usd * 1000000)::bigint AS micros, turn FROM task_heads WHERE task_id = \(task.id.rawValue)"
                ).only()
            )
        }
        let result = stored.0 ?? [:]
        var ending = Ending.of(result, task: task, isIntended: stored.1)
        do {
            let head = try await tracer.span("verify branch", in: trace) {
                try await verify(task, result, ending)
            }
            if head != nil && result["commit"]?.string == nil { ending = ending.withEarlierWork() }
            guard ending.opensPullRequest else {
                try await end(task, step, ending, result, head: head, pullRequest: nil)
                return nil
            }
            let forge = try forges.forge(credentialRef: task.settings["credential_ref"]?.string)
            let issue = try await title(task, forge)
            let request = PullRequestText.make(
                task, result: result, issueTitle: issue, isDraft: ending.isDraft,
                cost: USD(micros: try stored.2.get("micros", as: Int64.self)),
                turns: try stored.2.get("turn", as: Int.self))
            try await pool.transaction { tx in
                // Under the task's lock: a cancel is either seen here or comes too late.
                guard let current = try TaskStore.lock(task.id, in: tx), current.status == .finalizing else {
                    throw StoreError.conflict
                }
                // Seen only now: decide again with it.
                if current.cancelRequested && !task.cancelRequested { throw StoreError.conflict }
                try PullRequestStore.intend(
                    current,
                    [
                        "head": .string(request.head), "base": .string(request.base), "draft": .bool(request.isDraft),
                    ], in: tx)
            }
            let opened = try await tracer.span("open pull request", in: trace, kind: .client) {
                try await open(request, task, forge)
            }
            try await end(task, step, ending, result, head: head, pullRequest: opened)
            return nil
        } catch let error as ForgeError {
            return try await fail(task, step, error.failure(task.repo, doing: "Finalizing"), retry: error.isRetryable)
        } catch let failure as TaskFailure {
            return try await fail(task, step, failure, retry: failure.retryable)
        }
    }

    /// The branch's head on the remote. Throws when the agent says that it pushed and it is not there, as far as the end
    /// depends on it: a cancelled task stays cancelled, whatever became of its branch.
    private func verify(_ task: TaskRecord, _ result: JSONValue, _ ending: Ending) async throws -> String? {
        let commit = result["commit"]?.string
        // A lost attempt may have pushed before it could report; then the next one finds nothing left to do.
        if commit == nil && (task.attempt == 1 || ending.trigger != .completed) { return nil }
        do {
            let forge = try forges.forge(credentialRef: task.settings["credential_ref"]?.string)
            let head = try await forge.branchHead(task.branchName, of: task.repo)
            guard commit == nil || head == commit || !ending.opensPullRequest else {
                throw OrchestratorFailures.branchMissing(task.branchName, expected: commit ?? "", found: head)
            }
            return head
        } catch  where ending.trigger != .completed && !ending.opensPullRequest {
            log.warning("the branch was not looked at", ["error": "\(error)"])
            return nil
        }
    }

    private func title(_ task: TaskRecord, _ forge: any Forge) async throws -> String? {
        guard let number = task.issueNumber else { return nil }
        do {
            return try await forge.issue(number, of: task.repo).title
        } catch let error as ForgeError where !error.isRetryable {
            // An issue that is gone by now is no reason to throw the work away.
            return nil
        }
    }

    private func open(
        _ request: NewPullRequest, _ task: TaskRecord, _ forge: any Forge
    ) async throws -> ForgePullRequest {
        if let found = try await forge.pullRequest(fromBranch: request.head, of: task.repo) { return found }
        do {
            return try await forge.openPullRequest(request, in: task.repo)
        } catch let error as ForgeError {
            let id = task.id
            if error.mayHaveHappened || error.kind == .invalid {
                try await pool.run { try PullRequestStore.markUnknown(id, error.message, in: $0) }
                // "Already exists" and a lost answer look the same from here: what counts is whether it is there.
                if let found = try await forge.pullRequest(fromBranch: request.head, of: task.repo) { return found }
            }
            throw error
        }
    }

    private func end(
        _ task: TaskRecord, _ step: Step, _ ending: Ending, _ result: JSONValue, head: String?,
        pullRequest: ForgePullRequest?
    ) async throws {
        try await step.commit { tx in
            guard let current = try TaskStore.lock(task.id, in: tx), current.status == .finalizing else { return }
            var changes = TaskChanges()
            changes.outcome = ending.outcome
            changes.headSHA = head
            changes.error = ending.failure
            changes.answerText = result["summary"]?.string.map { String($0.prefix(2000)) }
            if let pullRequest {
                changes.pullRequestURL = pullRequest.url
                changes.pullRequestNumber = pullRequest.number
                try PullRequestStore.markSent(task.id, url: pullRequest.url, in: tx)
                try TaskLog.append(
                    .prCreated, to: task.id, attempt: task.attempt,
                    [
                        "pr_url": .string(pullRequest.url), "pr_number": JSONValue(pullRequest.number),
                        "draft": .bool(pullRequest.isDraft), "branch": .string(task.branchName),
                        "head_sha": JSONValue(head),
                    ], in: tx)
            }
            try TaskStore.move(current, on: ending.trigger, changes, in: tx)
        }
        log.info("task ended", ["outcome": ending.outcome])
    }

    private func fail(
        _ task: TaskRecord, _ step: Step, _ failure: TaskFailure, retry: Bool
    ) async throws -> TaskFailure {
        let policy = settings.step
        try await step.commit { tx in
            guard let current = try TaskStore.lock(task.id, in: tx), current.status == .finalizing else { return }
            if retry, try TaskStore.retryStep(current, policy: policy, in: tx) { return }
            try PullRequestStore.markDead(task.id, failure.description, in: tx)
            try TaskStore.move(current, on: .failed, .failure(failure), in: tx)
        }
        return failure
    }
}
