import Domain
import HTTPClient
import HTTPTypes

/// GitHub's REST API (github.com, GitHub Enterprise Server) with one token.
package struct GitHub: Forge {
    private let http: HTTPClient
    private let apiURL: String
    private let webURL: String
    private let token: String
    private let timeout: Duration
    /// A page of the API; also the bound on how many pages one listing may take.
    private static let pageSize = 100
    private static let maxPages = 100

    /// - Parameters:
    ///   - apiURL: `https://api.github.com` or `https://host/api/v3`.
    ///   - webURL: where git finds repositories: `https://github.com`.
    ///   - timeout: for one call.
    package init(http: HTTPClient, apiURL: String, webURL: String, token: String, timeout: Duration = .seconds(10)) {
        self.http = http
        self.apiURL = apiURL
        self.webURL = webURL
        self.token = token
        self.timeout = timeout
    }

    package func cloneURL(of repo: RepoName) -> String { "\(webURL)/\(repo).git" }

    package func repository(_ repo: RepoName) async throws -> ForgeRepository {
        let answer = try await call("GET", "/repos/\(repo)")
        guard let branch = answer["default_branch"]?.string else { throw malformed("repository") }
        return ForgeRepository(
            defaultBranch: branch, canPush: answer["permissions"]?["push"]?.bool ?? false,
            isArchived: answer["archived"]?.bool ?? false)
    }

    package func account() async throws -> String {
        guard let login = try await call("GET", "/user")["login"]?.string else { throw malformed("user") }
        return login
    }

    package func issue(_ number: Int, of repo: RepoName) async throws -> ForgeIssue {
        let answer = try await call("GET", "/repos/\(repo)/issues/\(number)")
        guard let title = answer["title"]?.string else { throw malformed("issue") }
        return ForgeIssue(
            number: number, title: title, body: answer["body"]?.string ?? "",
            author: answer["user"]?["login"]?.string ?? "unknown", isOpen: answer["state"]?.string == "open",
            isPullRequest: answer["pull_request"].map { !$0.isNull } ?? false,
            comments: try await comments(ofIssue: number, of: repo))
    }

    package func comments(ofIssue number: Int, of repo: RepoName) async throws -> [ForgeComment] {
        var comments: [ForgeComment] = []
        for page in 1...GitHub.maxPages {
            let path = "/repos/\(repo)/issues/\(number)/comments?per_page=\(GitHub.pageSize)&page=\(page)"
            guard let items = try await call("GET", path).array else { throw malformed("comments") }
            comments += items.compactMap(comment)
            if items.count < GitHub.pageSize { return comments }
        }
        throw ForgeError(.invalid, "issue \(number) has more than \(GitHub.maxPages * GitHub.pageSize) comments")
    }

    package func createComment(_ body: String, onIssue number: Int, of repo: RepoName) async throws -> ForgeComment {
        let answer = try await call("POST", "/repos/\(repo)/issues/\(number)/comments", ["body": .string(body)])
        guard let created = comment(answer) else { throw malformed("comment") }
        return created
    }

    package func updateComment(_ id: Int64, body: String, of repo: RepoName) async throws {
        _ = try await call("PATCH", "/repos/\(repo)/issues/comments/\(id)", ["body": .string(body)])
    }

    package func branchHead(_ branch: String, of repo: RepoName) async throws -> String? {
        do {
            return try await call("GET", "/repos/\(repo)/git/ref/heads/\(branch)")["object"]?["sha"]?.string
        } catch let error as ForgeError where error.kind == .notFound {
            return nil
        }
    }

    package func pullRequest(fromBranch branch: String, of repo: RepoName) async throws -> ForgePullRequest? {
        let path = "/repos/\(repo)/pulls?head=\(repo.owner):\(branch)&state=all&per_page=100"
        guard let items = try await call("GET", path).array else { throw malformed("pulls") }
        let found = items.compactMap(pullRequest)
        return found.first { $0.isOpen } ?? found.first
    }

    package func openPullRequest(_ request: NewPullRequest, in repo: RepoName) async throws -> ForgePullRequest {
        let answer = try await call(
            "POST", "/repos/\(repo)/pulls",
            [
                "title": .string(request.title), "body": .string(request.body), "head": .string(request.head),
                "base": .string(request.base), "draft": .bool(request.isDraft),
            ])
        guard let created = pullRequest(answer) else { throw malformed("pull request") }
        return created
    }

    /// Asks for one from a branch to itself: refused as invalid where the right is there, which cannot succeed, and as
    /// forbidden where it is not. What a token may do is told nowhere else for tokens of every kind.
    package func mayOpenPullRequests(_ repo: RepoName, base: String) async throws -> Bool {
        do {
            _ = try await openPullRequest(
                NewPullRequest(title: "check", body: "", head: base, base: base, isDraft: false), in: repo)
            return true
        } catch let error as ForgeError {
            switch error.kind {
            case .invalid: return true
            case .forbidden, .notFound: return false
            case .unauthorized, .rateLimited, .unavailable: throw error
            }
        }
    }

    private func comment(_ value: JSONValue) -> ForgeComment? {
        guard let id = value["id"]?.integer else { return nil }
        return ForgeComment(
            id: id, author: value["user"]?["login"]?.string ?? "unknown", body: value["body"]?.string ?? "",
            createdAt: value["created_at"]?.string ?? "")
    }

    private func pullRequest(_ value: JSONValue) -> ForgePullRequest? {
        guard let number = value["number"]?.integer, let url = value["html_url"]?.string else { return nil }
        return ForgePullRequest(
            number: Int(number), url: url, isOpen: value["state"]?.string == "open",
            isDraft: value["draft"]?.bool ?? false, headSHA: value["head"]?["sha"]?.string ?? "")
    }

    private func malformed(_ what: String) -> ForgeError {
        ForgeError(.unavailable, "the answer about the \(what) is not what the API promises", mayHaveHappened: true)
    }

    private func call(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> JSONValue {
        var headers: Headers = [
            ("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28"),
            ("Authorization", "Bearer \(token)"),
        ]
        if body != nil { headers.append(("Content-Type", "application/json")) }
        let request = ClientRequest(
            method: method, url: apiURL + path, headers: headers, body: body.map { Array($0.text.utf8) } ?? [],
            timeout: timeout)
        let response: ClientResponse
        do {
            response = try await http.send(request)
        } catch let error as HTTPClientError {
            throw ForgeError(.unavailable, error.reason, mayHaveHappened: error.mayHaveReachedServer)
        }
        if response.isSuccess {
            if response.body.isEmpty { return .null }
            guard let value = try? JSONText.decode(JSONValue.self, bytes: response.body) else {
                throw malformed("call")
            }
            return value
        }
        throw refusal(response)
    }

    private func refusal(_ response: ClientResponse) -> ForgeError {
        let answer = try? JSONText.decode(JSONValue.self, bytes: response.body)
        var message = answer?["message"]?.string ?? "status \(response.status)"
        let details = answer?["errors"]?.array?.compactMap { $0["message"]?.string ?? $0.string } ?? []
        if !details.isEmpty { message += ": " + details.joined(separator: "; ") }
        message = String(message.prefix(500))
        let retryAfter = response.headers["Retry-After"].flatMap { Int($0) }
        switch response.status {
        case 401: return ForgeError(.unauthorized, message)
        case 403 where retryAfter != nil || response.headers["X-RateLimit-Remaining"] == "0":
            return ForgeError(.rateLimited, message, retryAfter: retryAfter)
        case 403: return ForgeError(.forbidden, message)
        case 404, 410: return ForgeError(.notFound, message)
        case 429: return ForgeError(.rateLimited, message, retryAfter: retryAfter)
        case 500...: return ForgeError(.unavailable, message, retryAfter: retryAfter, mayHaveHappened: true)
        default: return ForgeError(.invalid, message)
        }
    }
}
