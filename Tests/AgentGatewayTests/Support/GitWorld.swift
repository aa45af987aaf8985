import Crypto
import Domain
import FoundationEssentials
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import Testing
import Threads

@testable import AgentGateway

/// A forge on the loopback: a bare repository behind the real `git http-backend`, for whoever has the token.
final class FakeForge: Sendable {
    typealias Intercept = @Sendable (Request, _ pass: () throws -> Reply) throws -> Reply

    let directory: String
    private let server: Server
    private let intercept: Lock<Intercept?>

    init() throws {
        let directory = "/tmp/bgagent-forge-\(try Random.hexToken(bytes: 6))"
        self.directory = directory
        let intercept = Lock<Intercept?>(nil)
        self.intercept = intercept
        try FileManager.default.createDirectory(atPath: "\(directory)/home", withIntermediateDirectories: true)
        let backend = HTTPBackend(
            git: GitCommand(askpass: "", home: "\(directory)/home"), deadline: .seconds(30))
        var router = Router()
        let handler: Router.Handler = { request in
            guard SessionAccess.token(request) == Bench.forgeToken else {
                return .response(.text("no", status: 401, headers: ["WWW-Authenticate": "Basic realm=\"forge\""]))
            }
            let pass = {
                try backend.reply(
                    to: request, at: .init(root: directory, pathInfo: request.path, environment: [:]))
            }
            guard let intercept = intercept.withLock({ $0 }) else { return try pass() }
            return try intercept(request, pass)
        }
        for (method, end) in [("GET", "info/refs"), ("POST", "git-upload-pack"), ("POST", "git-receive-pack")] {
            router.on(method, "/acme/{name}/\(end)", maxBody: 64 << 20, handler)
        }
        var config = ServerConfig(mode: .threadPerConnection)
        config.spoolBodiesOver = 1 << 20
        server = try Server(config, router, log: .silent)
        try server.start()
    }

    var url: String { "http://127.0.0.1:\(server.port)" }
    var repository: String { "\(directory)/acme/shop.git" }

    /// From now on every request goes through this; nil = as it should be.
    func interceptPushes(_ body: Intercept?) {
        intercept.withLock { intercept in
            guard let body else { return intercept = nil }
            intercept = { request, pass in
                request.path.hasSuffix("git-receive-pack") && request.method == "POST"
                    ? try body(request, pass) : try pass()
            }
        }
    }

    func interceptAll(_ body: @escaping Intercept) { intercept.withLock { $0 = body } }

    func stop() {
        server.stop()
        try? FileManager.default.removeItem(atPath: directory)
    }
}

/// Git as an agent runs it, in a workspace of its own. Everything here blocks.
struct Workspace: Sendable {
    let bench: Bench
    let forge: FakeForge
    let path: String
    private let git: GitCommand

    init(_ bench: Bench, _ forge: FakeForge, _ name: String = "work") {
        self.bench = bench
        self.forge = forge
        path = "\(forge.directory)/\(name)"
        git = GitCommand(askpass: "\(bench.directory)/git/askpass", home: "\(forge.directory)/home")
    }

    var url: String { "\(bench.url)/git/acme/shop.git" }

    /// Runs git with the attempt's token and tells how it ended.
    func run(_ arguments: [String], attempt: Int = 1, in directory: String? = nil) throws -> GitOutcome {
        try git.run(
            arguments, in: directory ?? path, credential: .init(password: bench.token(.git, attempt: attempt)),
            environment: [
                "GIT_ALLOW_PROTOCOL": "file:http", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@localhost",
                "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@localhost",
            ], deadline: .seconds(60))
    }

    /// Runs git, which must succeed, and returns what it printed, without the last newline.
    @discardableResult
    func check(_ arguments: String..., in directory: String? = nil) throws -> String {
        let outcome = try run(arguments, in: directory)
        guard outcome.isSuccess else {
            throw GitError(command: arguments.joined(separator: " "), message: outcome.errors, isTimeout: false)
        }
        return outcome.text.split(separator: "\n").joined(separator: "\n")
    }

    /// Clones what the gateway offers and stands on the task's own branch.
    func clone() throws {
        try check("clone", "--quiet", url, path, in: "/")
        try check("checkout", "--quiet", "-b", bench.branch)
    }

    func write(_ name: String, _ content: some Sequence<UInt8>) throws {
        let file = URL(filePath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content).write(to: file)
    }

    /// Commits one file and returns the commit's name.
    @discardableResult
    func commit(_ name: String, _ content: String) throws -> String {
        try write(name, content.utf8)
        try check("add", "--all", "--force")
        try check("commit", "--quiet", "--message", "change \(name)")
        return try head()
    }

    func head() throws -> String { try check("rev-parse", "HEAD") }

    func push(_ refspec: String? = nil, attempt: Int = 1) throws -> GitOutcome {
        try run(["push", "--quiet", "origin", refspec ?? "HEAD:refs/heads/\(bench.branch)"], attempt: attempt)
    }

    /// Where a ref of the forge stands; nil when it is not there.
    func upstream(_ ref: String? = nil) throws -> String? {
        try self.ref(ref ?? "refs/heads/\(bench.branch)", of: forge.repository)
    }

    /// The same of the task's staging repository.
    func staged(_ ref: String) throws -> String? {
        try self.ref(ref, of: "\(bench.directory)/staging/\(bench.task).git")
    }

    private func ref(_ name: String, of repository: String) throws -> String? {
        let outcome = try run(["rev-parse", "--verify", "--quiet", name], in: repository)
        return outcome.isSuccess ? String(outcome.text.prefix(40)) : nil
    }

    /// Makes the forge's repository: `main` with two commits.
    fileprivate func seed() throws {
        let bare = forge.repository
        try FileManager.default.createDirectory(atPath: bare, withIntermediateDirectories: true)
        try check("init", "--bare", "--quiet", "--initial-branch=main", bare, in: "/")
        try check("config", "http.receivepack", "true", in: bare)
        try check("init", "--quiet", "--initial-branch=main", path, in: "/")
        try commit("README.md", "shop\n")
        try commit(".github/workflows/test.yml", "on: push\n")
        try check("push", "--quiet", bare, "HEAD:refs/heads/main")
    }
}

extension Bench {
    /// A bench in front of a forge, and an agent's workspace. The body blocks; it runs on a thread of its own.
    static func withGit(
        _ options: Options = Options(), isCloned: Bool = true, _ body: @escaping @Sendable (Workspace) throws -> Void
    ) async throws {
        let forge = try FakeForge()
        var options = options
        options.variables["BGAGENT_GITHUB_URL"] = forge.url
        let outcome: Result<Void, any Error>
        do {
            try await Bench.with(options) { bench in
                try await onThread {
                    try Workspace(bench, forge, "seed").seed()
                    let workspace = Workspace(bench, forge)
                    if isCloned { try workspace.clone() }
                    try body(workspace)
                }
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try await onThread { forge.stop() }
        try outcome.get()
    }

    /// What the hook wrote down, as `verdict ref`.
    func pushes() throws -> [String] {
        try connection().query("SELECT verdict || ' ' || ref AS line FROM git_pushes ORDER BY push_id").map {
            try $0.get("line", as: String.self)
        }
    }
}
