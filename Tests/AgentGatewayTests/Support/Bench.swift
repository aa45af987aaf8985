import Config
import Crypto
import Domain
import FoundationEssentials
import Glibc
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import TestSupport
import Testing
import Threads

@testable import AgentGateway

/// The whole agent gateway on a free port, with a database of its own, a repository and one running task.
struct Bench: Sendable {
    /// What a bench is made with beside its defaults.
    struct Options: Sendable {
        var budget: String?
        var model = "claude-sonnet-4-5"
        var settings: JSONValue = [:]
        var variables: [String: String] = [:]
        var poolSize = 4
        /// False: the session is claimed and the task not yet running.
        var isRunning = true
    }

    static let modelKey = "sk-ant-the-real-key-of-the-platform"
    static let forgeToken = "forge-token-4711"
    static let client = HTTPClient(HTTPClient.Options(name: "agents", threads: 16))

    let directory: String
    let pool: Pool
    let server: Server
    let calls: any Service
    let bell: InboxBell
    let metrics: Metrics
    let log: CapturingLog
    let task: TaskID
    let branch: String
    let postgres: PostgresConfig
    let variables: [String: String]

    var url: String { "http://127.0.0.1:\(server.port)" }
    /// A connection of the test's own.
    func connection() throws -> Connection { try Connection(postgres) }

    /// The plain token of an attempt.
    func token(_ scope: SessionScope, attempt: Int = 1) -> String { "\(scope.rawValue)-\(task)-\(attempt)" }

    /// Starts everything, runs the test, and takes everything away again.
    static func with(
        _ options: Options = Options(), _ body: @escaping @Sendable (Bench) async throws -> Void
    ) async throws {
        try await withScratchDatabase { url in
            let directory = "/tmp/bgagent-ag-\(try Random.hexToken(bytes: 6))"
            let postgres = try PostgresConfig(url: url, applicationName: "agent-gateway-tests")
            let connection = try Connection(postgres)
            _ = try Migrator.run(on: connection)
            let (task, branch) = try Seed.task(options, in: connection)
            var variables = [
                "BGAGENT_POSTGRES_URL": url, "BGAGENT_DATA": directory, "BGAGENT_AGENT_GATEWAY_PORT": "0",
                "BGAGENT_MODEL_API_KEY": modelKey, "BGAGENT_GITHUB_TOKEN": forgeToken, "BGAGENT_INBOX_POLL": "5ms",
                "BGAGENT_MODEL_URL": "http://127.0.0.1:1", "BGAGENT_AMQP_URL": "amqp://127.0.0.1:1",
            ]
            variables.merge(options.variables) { _, given in given }
            let config = try Environment.read(AgentGatewayConfig.init, from: Environment(variables))
            try config.install()
            let pool = Pool(postgres, size: options.poolSize)
            let log = CapturingLog()
            let metrics = Metrics()
            let bell = InboxBell()
            let (router, calls) = try AgentGateway.compose(
                config, bell: bell, pool: pool, hookBinary: hookBinary, variables: variables, metrics: metrics,
                log: log.logger)
            let server = try Server(AgentRouter.server(config), router, log: log.logger)
            try server.start()
            let bench = Bench(
                directory: directory, pool: pool, server: server, calls: calls, bell: bell, metrics: metrics, log: log,
                task: task,
                branch: branch, postgres: postgres, variables: variables)
            let outcome: Result<Void, any Error>
            do {
                outcome = .success(try await body(bench))
            } catch {
                outcome = .failure(error)
            }
            try await onThread { server.stop() }
            await pool.close()
            try? FileManager.default.removeItem(atPath: directory)
            // Whatever happened, the platform's credentials were told to nobody.
            #expect(!log.contains(modelKey))
            #expect(!log.contains(forgeToken))
            try outcome.get()
        }
    }

    /// The program that git runs as its hook: the one that the same build made, beside the tests.
    private static var hookBinary: String {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return tests.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/agent-gateway"
    }

    // MARK: - Talking to it

    func call(
        _ method: String, _ path: String, token: String? = nil, headers: Headers = [], _ body: String = ""
    ) async throws -> ClientResponse {
        var request = ClientRequest(
            method: method, url: url + path, headers: headers, body: Array(body.utf8),
            timeout: .seconds(60))
        if let token { request.headers.append((name: "Authorization", value: "Bearer \(token)")) }
        return try await Bench.client.send(request)
    }

    /// A call of the harness with a JSON body.
    func harness(_ method: String, _ path: String, attempt: Int = 1, _ body: JSONValue? = nil) async throws -> Answer {
        Answer(try await call(method, path, token: token(.harness, attempt: attempt), body?.text ?? ""))
    }

    // MARK: - Looking at what it did

    struct Event: Sendable {
        let seq: Int64
        let type: String
        let metadata: JSONValue
    }

    func events() throws -> [Event] {
        try connection().query("SELECT seq, event_type, metadata::text FROM task_events ORDER BY seq").map { row in
            Event(
                seq: try row.get("seq", as: Int64.self), type: try row.get("event_type", as: String.self),
                metadata: try row.json("metadata"))
        }
    }

    func events(_ type: TaskEventType) throws -> [JSONValue] {
        try events().filter { $0.type == type.rawValue }.map(\.metadata)
    }

    func commands() throws -> [String] {
        try connection().query("SELECT command FROM task_commands ORDER BY seq").map {
            try $0.get("command", as: String.self)
        }
    }

    /// What the task has cost, in millionths of a dollar.
    func spent() throws -> Int64 {
        try connection().query("SELECT (cost_usd * 1000000)::bigint AS micros FROM task_heads").only()
            .get("micros", as: Int64.self)
    }

    func openCalls() throws -> Int64 {
        try connection().query("SELECT count(*) AS count FROM model_calls").only().get("count", as: Int64.self)
    }

    /// The first attempt is lost, as the reconciler would say, and a second one runs.
    ///
    /// - Parameter keepsTokens: the old attempt's tokens still open their doors, as for a request that came in just before.
    func moveToSecondAttempt(keepsTokens: Bool = false) throws {
        let connection = try connection()
        let failure = TaskFailure(
            code: "lease_lost", category: .compute, title: "", description: "", remedy: "", retryable: true)
        try connection.transaction { tx in
            guard let record = try TaskStore.lock(task, in: tx) else { return }
            try TaskStore.loseAttempt(record, failure, in: tx)
        }
        for status in ["HYDRATING", "RUNNING"] { try connection.query("UPDATE tasks SET status = \(status)") }
        if keepsTokens {
            let tokens = try Seed.hashes(task, attempt: 1)
            try connection.query(
                """
                UPDATE sessions SET harness_token_hash = \(tokens[0]), git_token_hash = \(tokens[1]),
                    model_token_hash = \(tokens[2])
                """)
        }
        try Seed.session(task, attempt: 2, state: "running", in: connection)
    }

    func finish() throws {
        try connection().query("UPDATE tasks SET status = 'CANCELLED'")
    }
}

/// An answer of the session API.
struct Answer: Sendable {
    let status: Int
    let headers: Headers
    let body: JSONValue

    init(_ response: ClientResponse) {
        status = response.status
        headers = response.headers
        body = (try? JSONText.decode(JSONValue.self, bytes: response.body)) ?? .null
    }

    var data: JSONValue { body["data"] ?? .null }
    var code: String? { body["error"]?["code"]?.string }
}

/// Rows that other services would have written.
enum Seed {
    static func task(_ options: Bench.Options, in connection: Connection) throws -> (TaskID, String) {
        let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        let branch = "bgagent/\(id)/fix"
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, base_branch, model, max_turns,
                max_budget_usd, max_duration_s, settings, traceparent)
            VALUES (\(id.rawValue), \(user), 'acme/shop', 'mend it', \(branch), 'main', \(options.model), 10,
                \(options.budget)::numeric, 1000, \(options.settings.text)::jsonb,
                '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')
            """)
        try connection.query(
            """
            INSERT INTO task_heads (task_id, user_id, repo, traceparent, turn)
            SELECT task_id, user_id, repo, traceparent, 3 FROM tasks
            """)
        // Only by its moves does a task get anywhere.
        for status in ["HYDRATING", "RUNNING"].prefix(options.isRunning ? 2 : 1) {
            try connection.query("UPDATE tasks SET status = \(status)")
        }
        try session(id, attempt: 1, state: options.isRunning ? "running" : "claimed", in: connection)
        return (id, branch)
    }

    /// Of the tokens of harness, git and model.
    static func hashes(_ task: TaskID, attempt: Int) throws -> [String] {
        try [SessionScope.harness, .git, .model].map { try SHA256.hex("\($0.rawValue)-\(task)-\(attempt)") }
    }

    static func session(_ task: TaskID, attempt: Int, state: String, in connection: Connection) throws {
        let tokens = try hashes(task, attempt: attempt)
        try connection.query(
            """
            INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload, harness_token_hash,
                git_token_hash, model_token_hash)
            VALUES (\(task.rawValue), \(attempt), \(state), 'process', 'n1',
                clock_timestamp() + interval '1 minute', '{"limits":{"max_turns":10},"payload_version":1}',
                \(tokens[0]), \(tokens[1]), \(tokens[2]))
            """)
    }
}

/// Runs what blocks on a thread of its own, because the cooperative pool is everybody's.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
        do {
            _ = try NamedThread("test") { continuation.resume(with: Result { try body() }) }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
