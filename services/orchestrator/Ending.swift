import Domain
import Store

/// How a task ends, from its result. Pure.
struct Ending: Sendable, Hashable {
    let trigger: TaskTrigger
    let outcome: String
    let failure: TaskFailure?
    let opensPullRequest: Bool
    let isDraft: Bool

    private init(
        _ trigger: TaskTrigger, _ outcome: String, _ failure: TaskFailure? = nil, pullRequest: Bool = false,
        draft: Bool = false
    ) {
        self.trigger = trigger
        self.outcome = outcome
        self.failure = failure
        self.opensPullRequest = pullRequest
        self.isDraft = draft
    }

    /// The same end with a pull request: an earlier attempt has pushed work, which this one found nothing to add to. It
    /// is a draft, since this attempt verified nothing.
    func withEarlierWork() -> Ending {
        guard trigger == .completed else { return self }
        return Ending(.completed, "pull_request", pullRequest: true, draft: true)
    }

    /// A cancel that was asked for in time wins over whatever the agent still managed to do.
    ///
    /// - Parameter isIntended: the pull request's intent is written: from then on a cancel comes too late.
    static func of(_ result: JSONValue, task: TaskRecord, isIntended: Bool = false) -> Ending {
        let reported = result["outcome"]?.string
        if task.cancelRequested && !isIntended { return Ending(.cancelled, TaskOutcome.cancelled.rawValue) }
        guard let outcome = reported.flatMap(TaskOutcome.init(rawValue:)) else {
            return Ending(.failed, "failed", OrchestratorFailures.unknownResult(reported))
        }
        let hasCommit = result["commit"]?.string != nil
        switch outcome {
        case .completed where hasCommit: return Ending(.completed, "pull_request", pullRequest: true)
        case .completed, .noChange: return Ending(.completed, TaskOutcome.noChange.rawValue)
        case .verificationFailed:
            return Ending(
                .failed, outcome.rawValue, OrchestratorFailures.verification(result), pullRequest: hasCommit,
                draft: true)
        case .maxTurns: return Ending(.failed, outcome.rawValue, OrchestratorFailures.maxTurns)
        case .budgetExhausted: return Ending(.failed, outcome.rawValue, OrchestratorFailures.budget)
        case .timedOut: return Ending(.timedOut, outcome.rawValue)
        case .cancelled, .parked: return Ending(.failed, "failed", OrchestratorFailures.agentStopped)
        case .failed: return Ending(.failed, "failed", result.failure ?? OrchestratorFailures.agentStopped)
        }
    }
}
