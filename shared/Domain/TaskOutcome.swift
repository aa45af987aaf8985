/// How an agent's attempt ended, as it reports it; finalization verifies the claim before it believes it.
package enum TaskOutcome: String, Sendable, Codable, CaseIterable {
    /// Work committed, verification green.
    case completed
    /// Nothing to commit; the agent's last text is the answer.
    case noChange = "no_change"
    /// Work committed, verification still red: a draft pull request.
    case verificationFailed = "verification_failed"
    case maxTurns = "max_turns"
    case budgetExhausted = "budget_exhausted"
    case timedOut = "timed_out"
    case cancelled
    case failed
    /// Put aside until somebody answers a question; the work is kept, nothing was pushed to the branch.
    case parked
}
