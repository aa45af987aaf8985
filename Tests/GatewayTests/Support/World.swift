import Artifacts
import Crypto
import Domain
import FoundationEssentials
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// A gateway of its own over a database of its own, as a client sees it. Every answer is held against the API's own
/// description as it passes.
final class World: Sendable {
    /// A person with a token.
    struct Person: Sendable {
        let id: UserID
        let name: String
        let token: String
    }

    struct Answer: Sendable {
        let status: Int
        let headers: Headers
        let body: JSONValue

        var data: JSONValue { body["data"] ?? .null }
        var code: String? { body["error"]?["code"]?.string }
        var message: String { body["error"]?["message"]?.string ?? "" }
        var next: String? { body["pagination"]?["next_token"]?.string }
        var hasMore: Bool { body["pagination"]?["has_more"]?.bool ?? false }
    }

    let databaseURL: String
    let pool: Pool
    let api: RestAPI
    let metrics: Metrics
    let admin: Person
    let artifacts: DirectoryArtifactStore
    private let http: HTTPClient
    private let promised: Promised

    private init(
        databaseURL: String, pool: Pool, api: RestAPI, metrics: Metrics, admin: Person,
        artifacts: DirectoryArtifactStore, promised: Promised
    ) {
        self.databaseURL = databaseURL
        self.pool = pool
        self.api = api
        self.metrics = metrics
        self.admin = admin
        self.artifacts = artifacts
        self.promised = promised
        http = HTTPClient(HTTPClient.Options(name: "test-client", threads: 24))
    }

    /// Runs `body` with a gateway that has one administrator, one repository `acme/shop`, and no rate limits.
    ///
    /// - Parameter patience: the longest wait for a lock or statement; the product's second is too short for a machine
    ///   that runs every test at once.
    static func with<Result>(
        patience: Duration = .seconds(30), _ change: (inout GatewaySettings) -> Void = { _ in },
        isolation: isolated (any Actor)? = #isolation,
        _ body: (World) async throws -> Result
    ) async throws -> Result {
        var settings = GatewaySettings()
        settings.userRate = 0
        settings.addressRate = 0
        settings.loginRate = 0
        settings.passwordCost = PasswordHash.Cost(logN: 4)
        settings.tokenCache = .zero
        settings.watchTick = .milliseconds(50)
        change(&settings)
        return try await withScratchDatabase { url in
            let pool = try await makePool(url, patience: patience)
            let (token, hash) = try Authenticator.makeToken()
            let admin = try await pool.run { connection in
                _ = try connection.transaction { try TokenStore.bootstrap(hash: hash, keep: {}, in: $0) }
                try connection.query("INSERT INTO repos (repo, default_branch) VALUES ('acme/shop', 'main')")
                let user = try connection.query("SELECT user_id FROM users WHERE name = 'admin'").only()
                return Person(id: try user.ulid("user_id"), name: "admin", token: token)
            }
            let metrics = Metrics()
            let directory = "/tmp/bgagent-gw-\(try Random.hexToken(bytes: 6))"
            defer { try? FileManager.default.removeItem(atPath: directory) }
            let artifacts = DirectoryArtifactStore(directory: directory)
            let api = try RestAPI(
                ServerConfig(threads: 4), pool: pool, settings: settings,
                artifacts: artifacts, metrics: metrics, log: .silent)
            let world = World(
                databaseURL: url, pool: pool, api: api, metrics: metrics, admin: admin,
                artifacts: artifacts, promised: try Promised(api.endpoints))
            let services = [
                Task { try await api.watch.run() }, Task { try await api.logWatch.run() },
                Task { try await api.server.run() },
            ]
            let outcome: Swift.Result<Result, any Error>
            do {
                outcome = .success(try await body(world))
            } catch {
                outcome = .failure(error)
            }
            for service in services.reversed() {
                service.cancel()
                _ = await service.result
            }
            await world.http.stop()
            await pool.close()
            return try outcome.get()
        }
    }

    /// A pool over a database that it brings to the current schema.
    static func makePool(_ url: String, patience: Duration = .seconds(30)) async throws -> Pool {
        let migrating = Pool(
            try PostgresConfig(
                url: url, applicationName: "gateway-tests", lockTimeout: .seconds(60), statementTimeout: .seconds(60)),
            size: 1)
        try await migrating.run { _ = try Migrator.run(on: $0) }
        await migrating.close()
        return Pool(
            try PostgresConfig(
                url: url, applicationName: "gateway-tests", lockTimeout: patience, statementTimeout: patience),
            size: 8, patience: patience)
    }

    /// Methods and paths of the API's description.
    var promisedOperations: [(method: String, path: String)] { promised.operations }

    // MARK: - Calling

    /// Sends a request as `person` (nil = without a token) and checks that the answer is as described.
    @discardableResult
    func call(
        _ method: String, _ path: String, as person: Person? = nil, anonymous: Bool = false, body: JSONValue? = nil,
        text: String? = nil, headers: Headers = [], timeout: Duration = .seconds(40),
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var request = ClientRequest(
            method: method, url: "http://127.0.0.1:\(api.server.port)\(path)", headers: headers, timeout: timeout)
        if !anonymous { request.headers["Authorization"] = "Bearer \((person ?? admin).token)" }
        if let text = text ?? body?.text {
            request.body = Array(text.utf8)
            if headers["Content-Type"] == nil { request.headers["Content-Type"] = "application/json" }
        }
        let response = try await http.send(request)
        let json = response.body.isEmpty ? JSONValue.null : try JSONReader.read(response.body)
        #expect(EventID(rawValue: response.headers["X-Request-Id"] ?? "") != nil, sourceLocation: sourceLocation)
        if response.status >= 400 {
            #expect(
                json["error"]?["request_id"]?.string == response.headers["X-Request-Id"],
                sourceLocation: sourceLocation)
        }
        if method != "HEAD" {
            for breach in promised.breaches(method, path, response.status, json) {
                Issue.record("\(method) \(path): \(breach)", sourceLocation: sourceLocation)
            }
        }
        return Answer(status: response.status, headers: response.headers, body: json)
    }

    /// Fetches what a link opens, without a token.
    func fetch(_ link: String) async throws -> ClientResponse {
        try await http.send(
            ClientRequest(method: "GET", url: "http://127.0.0.1:\(api.server.port)\(link)", timeout: .seconds(40)))
    }

    func get(
        _ path: String, as person: Person? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call("GET", path, as: person, sourceLocation: sourceLocation)
    }

    /// Submits a task that is to be accepted, and returns its id.
    func submit(
        _ body: JSONValue = ["repo": "acme/shop", "task_description": "Fix the rounding"], as person: Person? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> TaskID {
        let answer = try await call("POST", "/v1/tasks", as: person, body: body, sourceLocation: sourceLocation)
        #expect(answer.status == 201, "\(answer.message)", sourceLocation: sourceLocation)
        return try #require(answer.data["task_id"]?.string.flatMap { TaskID(rawValue: $0) })
    }

    /// Makes an account with a token.
    func person(_ name: String, role: UserRole = .member) async throws -> Person {
        let (token, hash) = try Authenticator.makeToken()
        return try await pool.transaction { tx in
            let user = try UserStore.create(
                [ColumnValue("name", "\(name)"), ColumnValue("role", "\(role)")], in: tx)
            _ = try TokenStore.create(for: user.id, name: "test", hash: hash, lifetime: nil, in: tx)
            return Person(id: user.id, name: name, token: token)
        }
    }

    /// Gives an account a password of its own.
    func setPassword(_ password: String, of name: String) async throws {
        let hash = try PasswordHash.make(password, cost: PasswordHash.Cost(logN: 4))
        try await pool.run {
            try $0.query("UPDATE users SET password_hash = \(hash), password_once_until = NULL WHERE name = \(name)")
            return
        }
    }

    /// Tries to log in.
    func login(
        _ name: String, _ password: String, fresh: String? = nil, headers: Headers = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var body: [String: JSONValue] = ["name": .string(name), "password": .string(password)]
        if let fresh { body["new_password"] = .string(fresh) }
        return try await call(
            "POST", "/v1/login", anonymous: true, body: .object(body), headers: headers, sourceLocation: sourceLocation)
    }

    /// Whoever just logged in.
    func session(_ answer: Answer, sourceLocation: SourceLocation = #_sourceLocation) throws -> Person {
        let token = try #require(answer.data["token"]?.string, "\(answer.body.text)", sourceLocation: sourceLocation)
        let id = try #require(answer.data["user_id"]?.string.flatMap { UserID(rawValue: $0) })
        return Person(id: id, name: answer.data["name"]?.string ?? "", token: token)
    }

    // MARK: - The database behind it

    /// Brings a submitted task to a state along permitted moves.
    func bring(_ id: TaskID, to status: TaskStatus) async throws {
        let paths: [TaskStatus: [TaskTrigger]] = [
            .submitted: [], .queued: [.slotUnavailable], .hydrating: [.admitted],
            .running: [.admitted, .sessionStarted], .awaitingApproval: [.admitted, .sessionStarted, .gateOpened],
            .parked: [.admitted, .sessionStarted, .parked],
            .finalizing: [.admitted, .sessionStarted, .resultReceived],
            .completed: [.admitted, .sessionStarted, .resultReceived, .completed], .failed: [.failed],
            .cancelled: [.cancelled], .timedOut: [.admitted, .sessionStarted, .timedOut],
        ]
        let path = try #require(paths[status])
        try await pool.transaction { tx in
            for trigger in path {
                guard let task = try TaskStore.lock(id, in: tx) else { throw StoreError.noRow("tasks") }
                var changes = TaskChanges()
                if trigger == .parked { changes.wakeCondition = ["kind": "budget", "detail": "more money"] }
                if trigger == .failed {
                    changes.error = TaskFailure(
                        code: "repo_not_found", category: .config, title: "No such repository",
                        description: "the forge answers 404", remedy: "Check the name.")
                }
                try TaskStore.move(task, on: trigger, changes, in: tx)
            }
        }
    }

    /// Appends an event as the platform would.
    func append(_ type: TaskEventType, to id: TaskID, _ metadata: JSONValue = [:]) async throws {
        try await pool.transaction { _ = try TaskLog.append(type, to: id, attempt: 1, metadata, in: $0) }
    }

    /// The first column of the first row as a number.
    func count(_ query: Query) async throws -> Int {
        try await pool.run { try $0.query(query).only().get(0, as: Int.self) }
    }

    /// The types of a task's events in order.
    func timeline(_ id: TaskID) async throws -> [String] {
        try await pool.run { connection in
            try connection.query("SELECT event_type FROM task_events WHERE task_id = \(id.rawValue) ORDER BY seq")
                .map { try $0.get(0, as: String.self) }
        }
    }

    /// The commands that the orchestrator was sent, in order.
    func commands(_ id: TaskID) async throws -> [String] {
        try await pool.run { connection in
            try connection.query("SELECT command FROM task_commands WHERE task_id = \(id.rawValue) ORDER BY seq")
                .map { try $0.get(0, as: String.self) }
        }
    }
}
