import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Telemetry
import Testing

@testable import Forge

@Suite struct GitHubTests {
    private static let repo = RepoName(rawValue: "acme/shop")

    @Test func `every page of an issue's comments is read`() async throws {
        var router = Router()
        router.on("GET", "/repos/acme/shop/issues/7") { _ in
            .response(.json(#"{"number":7,"title":"T","body":null,"state":"open","user":{"login":"ada"}}"#.utf8))
        }
        router.on("GET", "/repos/acme/shop/issues/7/comments") { request in
            let page = Int(request.queryValue("page") ?? "1") ?? 1
            let count = page < 3 ? 100 : 5
            let items = (0..<count).map {
                #"{"id":\#(page * 1000 + $0),"body":"c","user":{"login":"bob"},"created_at":"2026-01-01"}"#
            }
            return .response(.json("[\(items.joined(separator: ","))]".utf8))
        }
        try await Self.with(router) { forge, repo in
            let issue = try await forge.issue(7, of: repo)
            #expect(issue.comments.count == 205)
            #expect(issue.comments.last?.id == 3004)
            #expect(issue.body == "")
            #expect(!issue.isPullRequest)
        }
    }

    @Test(arguments: [
        (401, "", ForgeError.Kind.unauthorized, false), (403, "", .forbidden, false), (404, "", .notFound, false),
        (403, "30", .rateLimited, true), (429, "5", .rateLimited, true), (422, "", .invalid, false),
        (502, "", .unavailable, true),
    ])
    func `a refusal is told by its kind`(
        status: Int, retryAfter: String, kind: ForgeError.Kind, isRetryable: Bool
    ) async throws {
        var router = Router()
        router.on("GET", "/repos/acme/shop") { _ in
            let headers: Headers = retryAfter.isEmpty ? [] : ["Retry-After": retryAfter]
            return .response(
                .json(#"{"message":"no","errors":[{"message":"why"}]}"#.utf8, status: status, headers: headers))
        }
        try await Self.with(router) { forge, repo in
            let error = await #expect(throws: ForgeError.self) { try await forge.repository(repo) }
            #expect(error?.kind == kind)
            #expect(error?.isRetryable == isRetryable)
            #expect(error?.message == "no: why")
            #expect(error?.retryAfter == Int(retryAfter))
        }
    }

    @Test func `a branch that is not there is no error and an open pull request goes before a closed one`() async throws
    {
        var router = Router()
        router.on("GET", "/repos/acme/shop/pulls") { _ in
            .response(
                .json(
                    #"""
                    [{"number":1,"html_url":"u1","state":"closed","head":{"sha":"a"}},
                     {"number":2,"html_url":"u2","state":"open","draft":true,"head":{"sha":"b"}}]
                    """#.utf8))
        }
        try await Self.with(router) { forge, repo in
            #expect(try await forge.branchHead("bgagent/x", of: repo) == nil)
            let found = try await forge.pullRequest(fromBranch: "bgagent/x", of: repo)
            #expect(found?.number == 2)
            #expect(found?.isDraft == true)
        }
    }

    @Test func `the token goes in a header and a lost answer may have happened`() async throws {
        var router = Router()
        router.on("POST", "/repos/acme/shop/issues/7/comments") { request in
            guard request.headers["Authorization"] == "Bearer secret" else {
                return .response(.text("no", status: 401))
            }
            return .response(.json(#"{"id":9,"body":"hello","user":{"login":"bot"}}"#.utf8, status: 201))
        }
        try await Self.with(router) { forge, repo in
            let created = try await forge.createComment("hello", onIssue: 7, of: repo)
            #expect(created.id == 9)
        }
        let gone = GitHub(http: HTTPClient(), apiURL: "http://127.0.0.1:1", webURL: "", token: "secret")
        let repo = try #require(Self.repo)
        let error = await #expect(throws: ForgeError.self) {
            try await gone.createComment("hello", onIssue: 7, of: repo)
        }
        #expect(error?.kind == .unavailable)
        #expect(error?.mayHaveHappened == false)
    }

    private static func with(_ router: Router, _ body: (GitHub, RepoName) async throws -> Void) async throws {
        var answering = router
        answering.failure = { reason, _ in
            if case .notFound = reason { return .json(#"{"message":"Not Found"}"#.utf8, status: 404) }
            return .text("failed", status: 500)
        }
        let server = try Server(ServerConfig(), answering, name: "forge", log: .silent)
        try server.start()
        defer { server.stop() }
        let http = HTTPClient()
        try await body(
            GitHub(http: http, apiURL: "http://127.0.0.1:\(server.port)", webURL: "https://forge", token: "secret"),
            #require(repo))
        await http.stop()
    }
}
