import Config
import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Telemetry
import Testing

@testable import Forge

@Suite struct RepositoryCheckTests {
    /// What the forge answers to each question.
    private struct World {
        var repository = (200, #"{"default_branch":"main","permissions":{"push":true},"archived":false}"#)
        var branch = (200, #"{"object":{"sha":"abc"}}"#)
        var pulls = (422, #"{"message":"No commits between main and main"}"#)
        var user = (200, #"{"login":"bot"}"#)
    }

    @Test func `a credential that may do all is told so, and no pull request was opened`() async throws {
        let checks = try await Self.look(World())
        #expect(checks.map(\.name) == ["repository", "default branch", "push", "pull requests"])
        #expect(checks.allSatisfy { $0.ok })
    }

    @Test(arguments: [
        ("repository", 404, "{}", "repository"), ("repository", 401, "{}", "repository"),
        ("repository", 200, #"{"default_branch":"main","permissions":{"push":true},"archived":true}"#, "archived"),
        ("repository", 200, #"{"default_branch":"main","permissions":{"push":false}}"#, "push"),
        ("branch", 404, "{}", "default branch"), ("pulls", 403, "{}", "pull requests"),
        ("pulls", 404, "{}", "pull requests"), ("pulls", 502, "{}", "repository"),
    ])
    func `the first thing that is missing is told with one remedy`(
        question: String, status: Int, body: String, failed: String
    ) async throws {
        var world = World()
        switch question {
        case "repository": world.repository = (status, body)
        case "branch": world.branch = (status, body)
        default: world.pulls = (status, body)
        }
        let checks = try await Self.look(world)
        #expect(checks.filter { !$0.ok }.map(\.name) == [failed])
        #expect(checks.last?.ok == false)
        #expect(checks.last?.remedy?.isEmpty == false)
    }

    @Test func `a repository without a credential is told what to name`() async throws {
        let checks = try await Self.look(World(), token: nil)
        #expect(checks.map(\.name) == ["credential"])
        #expect(checks.first?.remedy?.contains("--credential-ref") == true)
    }

    @Test func `the platform's own token is looked at without touching a repository`() async throws {
        func look(_ world: World, token: String? = "t") async throws -> [Check] {
            try await Self.with(world, token: token) { await $0.check() }
        }
        #expect(try await look(World()).allSatisfy { $0.ok })
        #expect(try await look(World(), token: nil).allSatisfy { $0.ok })
        var refused = World()
        refused.user = (401, #"{"message":"Bad credentials"}"#)
        #expect(try await look(refused).filter { !$0.ok }.map(\.name) == ["forge token"])
        let nowhere = ForgeAccess(try Self.config("http://127.0.0.1:1", token: "t"), http: HTTPClient())
        #expect(await nowhere.check().map(\.name) == ["forge"])
        #expect(await nowhere.check().allSatisfy { !$0.ok })
    }

    private static func look(_ world: World, token: String? = "t") async throws -> [Check] {
        let repo = try #require(RepoName(rawValue: "acme/shop"))
        return try await with(world, token: token) { await $0.check(repo, credentialRef: nil) }
    }

    private static func with<Result>(
        _ world: World, token: String?, _ body: (ForgeAccess) async throws -> Result
    ) async throws -> Result {
        var router = Router()
        for (method, path, answer) in [
            ("GET", "/repos/acme/shop", world.repository), ("POST", "/repos/acme/shop/pulls", world.pulls),
            ("GET", "/repos/acme/shop/git/ref/heads/main", world.branch), ("GET", "/user", world.user),
        ] {
            router.on(method, path) { _ in .response(.json(answer.1.utf8, status: answer.0)) }
        }
        let server = try Server(ServerConfig(), router, name: "forge", log: .silent)
        try server.start()
        defer { server.stop() }
        let http = HTTPClient()
        let result = try await body(
            ForgeAccess(try config("http://127.0.0.1:\(server.port)", token: token), http: http))
        await http.stop()
        return result
    }

    private static func config(_ url: String, token: String?) throws -> ForgeConfig {
        var values = ["BGAGENT_GITHUB_API_URL": url]
        values["BGAGENT_GITHUB_TOKEN"] = token
        return try Environment.read({ ForgeConfig(&$0, secretsDirectory: "/nonexistent") }, from: Environment(values))
    }
}
