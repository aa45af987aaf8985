import Domain

/// A repository as its forge describes it to our credential.
package struct ForgeRepository: Sendable, Hashable {
    package let defaultBranch: String
    package let canPush: Bool
    package let isArchived: Bool
}

/// One comment of an issue or pull request.
package struct ForgeComment: Sendable, Hashable {
    package let id: Int64
    package let author: String
    package let body: String
    package let createdAt: String
}

/// An issue with all its comments, oldest first.
package struct ForgeIssue: Sendable, Hashable {
    package let number: Int
    package let title: String
    package let body: String
    package let author: String
    package let isOpen: Bool
    package let isPullRequest: Bool
    package let comments: [ForgeComment]
}

package struct ForgePullRequest: Sendable, Hashable {
    package let number: Int
    package let url: String
    package let isOpen: Bool
    package let isDraft: Bool
    package let headSHA: String
}

/// What a new pull request says.
package struct NewPullRequest: Sendable, Hashable {
    package var title: String
    package var body: String
    package var head: String
    package var base: String
    package var isDraft: Bool

    package init(title: String, body: String, head: String, base: String, isDraft: Bool) {
        self.title = title
        self.body = body
        self.head = head
        self.base = base
        self.isDraft = isDraft
    }
}

/// Where code lives and is reviewed. One implementation per kind of forge; each call is one attempt with a time limit.
///
/// Calls throw `ForgeError`; nothing is retried here, because only the caller knows what a second effect would mean.
package protocol Forge: Sendable {
    func repository(_ repo: RepoName) async throws -> ForgeRepository
    /// The issue with ALL its comments, however many pages they take.
    func issue(_ number: Int, of repo: RepoName) async throws -> ForgeIssue
    /// The commit at the head of a branch; nil when there is no such branch.
    func branchHead(_ branch: String, of repo: RepoName) async throws -> String?
    /// The pull request from that branch, open before closed; nil when there is none.
    func pullRequest(fromBranch branch: String, of repo: RepoName) async throws -> ForgePullRequest?
    func openPullRequest(_ request: NewPullRequest, in repo: RepoName) async throws -> ForgePullRequest
    /// Whether the credential may open pull requests, found out without opening one.
    func mayOpenPullRequests(_ repo: RepoName, base: String) async throws -> Bool
    /// The account that the credential belongs to.
    func account() async throws -> String
    func comments(ofIssue number: Int, of repo: RepoName) async throws -> [ForgeComment]
    func createComment(_ body: String, onIssue number: Int, of repo: RepoName) async throws -> ForgeComment
    /// Replaces a comment's text. Throws `.notFound` when it was deleted.
    func updateComment(_ id: Int64, body: String, of repo: RepoName) async throws
    /// Where git finds the repository, without credentials.
    func cloneURL(of repo: RepoName) -> String
}

/// What a forge answered, or that it did not.
package struct ForgeError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// 401: the credential is wrong or expired.
        case unauthorized
        /// 403: the credential is right and may not.
        case forbidden
        case notFound
        /// 422 and the like: it will never be taken as it is.
        case invalid
        /// 429, or 403 with a limit spent: later, not before `retryAfter`.
        case rateLimited
        /// 5xx, or no answer at all.
        case unavailable
    }

    package let kind: Kind
    package let message: String
    /// Seconds to wait that the forge asked for.
    package let retryAfter: Int?
    /// True when the call may have had its effect although no answer came.
    package let mayHaveHappened: Bool

    package init(_ kind: Kind, _ message: String, retryAfter: Int? = nil, mayHaveHappened: Bool = false) {
        self.kind = kind
        self.message = message
        self.retryAfter = retryAfter
        self.mayHaveHappened = mayHaveHappened
    }

    package var isRetryable: Bool { kind == .rateLimited || kind == .unavailable }
    package var description: String { "\(kind): \(message)" }
}

extension ForgeError {
    /// The error as a task's failure, for people: what, where, and what to do.
    package func failure(_ repo: RepoName, doing what: String) -> TaskFailure {
        switch kind {
        case .unauthorized:
            TaskFailure(
                code: "forge_token_rejected", category: .auth, title: "The forge rejected our token",
                description: "\(what) for \(repo): \(message)",
                remedy: "Put a valid token into the repository's credential file and submit again.")
        case .forbidden:
            TaskFailure(
                code: "forge_permission_missing", category: .auth, title: "The token may not do this",
                description: "\(what) for \(repo): \(message)",
                remedy: "Give the token read and write access to contents, issues and pull requests.")
        case .notFound:
            TaskFailure(
                code: "forge_not_found", category: .config, title: "Not found on the forge",
                description: "\(what) for \(repo): \(message)",
                remedy: "Check the name, and that the token may see the repository.")
        case .invalid:
            TaskFailure(
                code: "forge_refused", category: .config, title: "The forge refused the request",
                description: "\(what) for \(repo): \(message)",
                remedy: "Read the forge's message and correct its cause.")
        case .rateLimited:
            TaskFailure(
                code: "forge_rate_limited", category: .network, title: "The forge's rate limit is spent",
                description: "\(what) for \(repo): \(message)", remedy: "Submit again later.", retryable: true)
        case .unavailable:
            TaskFailure(
                code: "forge_unreachable", category: .network, title: "The forge does not answer",
                description: "\(what) for \(repo): \(message)",
                remedy: "Check that the forge is reachable from this machine, then submit again.", retryable: true)
        }
    }
}
