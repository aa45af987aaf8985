import Domain
import Postgres

@testable import Forge
@testable import Store

/// A task record without a database, for what is pure.
enum Samples {
    static func task(
        description: String? = "Fix the rounding", issue: Int? = nil, cancelRequested: Bool = false
    ) throws -> TaskRecord {
        guard let id = TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            let user = UserID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAW"),
            let repo = RepoName(rawValue: "acme/shop")
        else { throw StoreError.corrupt("sample") }
        return TaskRecord(
            id: id, userID: user, repo: repo, issueNumber: issue, description: description,
            workflow: "coding/new-task-v1", status: .finalizing, version: 1, attempt: 1, maxAttempts: 2,
            branchName: "bgagent/\(id)/fix", baseBranch: "main", model: "m", maxTurns: 10, maxBudget: nil,
            maxDurationSeconds: 100, settings: [:], notifications: [:], outcome: nil, pullRequestURL: nil,
            pullRequestNumber: nil, headSHA: nil, answerText: nil, error: nil, cancelRequested: cancelRequested,
            stepAttempts: 0, traceparent: "", channelSource: "api", remainingSeconds: 100)
    }

    static func issue(_ comments: [String], title: String = "Totals are wrong", body: String = "See below")
        -> ForgeIssue
    {
        ForgeIssue(
            number: 7, title: title, body: body, author: "ada", isOpen: true, isPullRequest: false,
            comments: comments.enumerated().map { index, text in
                ForgeComment(id: Int64(index), author: "bob", body: text, createdAt: "2026-01-0\(index % 9 + 1)")
            })
    }
}
