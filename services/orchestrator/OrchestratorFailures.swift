import Domain
import Screening

/// The failures that the orchestrator itself tells of.
enum OrchestratorFailures {
    static func sessionLost(_ reason: String?) -> TaskFailure {
        TaskFailure(
            code: "session_lost", category: .compute, title: "The agent's sandbox ended unexpectedly",
            description: reason ?? "The sandbox ended without a result.",
            remedy: "Look at the compute node's logs; submit again when the cause is mended.", retryable: true)
    }

    static let unanswered = TaskFailure(
        code: "question_unanswered", category: .timeout, title: "Nobody answered the agent's question",
        description: "The task was put aside until somebody would answer, and nobody did.",
        remedy: "Do it once more (bgagent retry), and answer this time. What was done is kept as its checkpoint.")

    static func noPushPermission(_ repo: RepoName) -> TaskFailure {
        TaskFailure(
            code: "push_permission_missing", category: .auth, title: "The token may not push",
            description: "The credential can read \(repo) but cannot push to it.",
            remedy: "Give the token write access to contents and pull requests.")
    }

    static func archived(_ repo: RepoName) -> TaskFailure {
        TaskFailure(
            code: "repo_archived", category: .config, title: "The repository is archived",
            description: "\(repo) is read-only on the forge.", remedy: "Unarchive it, then submit again.")
    }

    static func issueClosed(_ number: Int) -> TaskFailure {
        TaskFailure(
            code: "issue_closed", category: .config, title: "The issue is closed",
            description: "Issue #\(number) is not open.",
            remedy: "Reopen the issue, or submit with a description instead.")
    }

    static func issueIsPullRequest(_ number: Int) -> TaskFailure {
        TaskFailure(
            code: "issue_is_pull_request", category: .config, title: "That number is a pull request",
            description: "#\(number) is a pull request, not an issue.", remedy: "Name the issue's number.")
    }

    static func guardrail(_ finding: ScreeningFinding, in source: String, version: Int) -> TaskFailure {
        TaskFailure(
            code: "guardrail_blocked", category: .guardrail, title: "The task's text was stopped",
            description: "\(source) holds \(finding.says) (rule '\(finding.rule)', version \(version)).",
            remedy:
                "Look at that text. Take out what is meant for an agent alone, or submit with a description instead.")
    }

    static let screenerAway = TaskFailure(
        code: "screener_unavailable", category: .network, title: "The task's text could not be screened",
        description: "The screener does not answer, and nothing reaches an agent unscreened.",
        remedy: "Look at the screener (BGAGENT_SCREENER_URL), then submit again.", retryable: true)

    static func branchMissing(_ branch: String, expected: String, found: String?) -> TaskFailure {
        TaskFailure(
            code: "push_not_found", category: .network, title: "The pushed work is not on the remote",
            description: "Branch \(branch) should be at \(expected), the forge shows \(found ?? "no such branch").",
            remedy: "Check whether somebody moved the branch; the work is kept in the platform's staging repository.",
            retryable: true)
    }

    static func verification(_ result: JSONValue) -> TaskFailure {
        let command = result["verification"]?["command"]?.string ?? "the verification"
        let tail = result["verification"]?["output_tail"]?.string ?? ""
        return TaskFailure(
            code: "verification_failed", category: .agent, title: "The work does not pass its checks",
            description: "`\(command)` still fails. \(String(tail.suffix(1000)))",
            remedy: "Look at the draft pull request, then submit a follow-up with more detail.")
    }

    static let maxTurns = TaskFailure(
        code: "max_turns", category: .agent, title: "All turns are used",
        description: "The agent reached its limit of turns before it was done. Its work is on the branch.",
        remedy: "Submit again with a larger --max-turns, or a smaller task.")

    static let budget = TaskFailure(
        code: "budget_exhausted", category: .agent, title: "The budget is spent",
        description: "The agent spent its budget before it was done. Its work is on the branch.",
        remedy: "Submit again with a larger --max-budget, or a smaller task.")

    static let agentStopped = TaskFailure(
        code: "agent_stopped", category: .agent, title: "The agent stopped early",
        description: "The agent gave up its work without being asked to.",
        remedy: "Submit again; if it repeats, look at the session's log on the compute node.", retryable: true)

    static func unknownResult(_ outcome: String?) -> TaskFailure {
        TaskFailure(
            code: "result_not_understood", category: .agent, title: "The agent's result is not understood",
            description: "The outcome was \(outcome ?? "missing").",
            remedy: "Use an agent image of the same release as the platform.")
    }
}
