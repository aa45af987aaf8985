import Config
import Domain
import FoundationEssentials
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import ComputeAdapter

@Suite struct AdapterTests {
    @Test func `a requested session is claimed once, started, and told of when it dies`() async throws {
        try await Self.with(script: "exit 0") { adapter, connection, id in
            await adapter.wake()
            #expect(try Self.state(id, connection) == "claimed")
            try await eventually("the session is lost") {
                await adapter.wake()
                return try Self.state(id, connection) == "void"
            }
            #expect(try Self.commands(id, connection) == ["session_claimed", "session_lost"])
        }
    }

    @Test func `the sandbox gets its tokens and no credential`() async throws {
        let script = "env > \"$BGAGENT_WORKSPACE/../seen\"; while :; do sleep 0.05; done"
        try await Self.with(script: script) { adapter, connection, id in
            await adapter.wake()
            let file = "\(Self.directory(id))/sessions/bgagent-\(id)-1/seen"
            let seen = try await eventually("the environment is written") { () -> String? in
                let text = try? String(contentsOfFile: file, encoding: .utf8)
                return text.flatMap { $0.contains("BGAGENT_MODEL_TOKEN") ? $0 : nil }
            }
            let names = Set(seen.split(separator: "\n").compactMap { $0.split(separator: "=").first.map(String.init) })
            let allowed: Set<String> = [
                "PATH", "LANG", "HOME", "TMPDIR", "PWD", "SHLVL", "_", "OLDPWD", "TRACEPARENT",
                "BGAGENT_AGENT_GATEWAY_URL", "BGAGENT_SESSION", "BGAGENT_TASK_ID", "BGAGENT_ATTEMPT",
                "BGAGENT_HARNESS_TOKEN", "BGAGENT_GIT_TOKEN", "BGAGENT_MODEL_TOKEN", "BGAGENT_WORKSPACE",
            ]
            #expect(names.subtracting(allowed) == [])
            let hashes = try connection.query("SELECT harness_token_hash FROM sessions").only()
            #expect(try !seen.contains(hashes.get("harness_token_hash", as: String.self)))
        }
    }

    @Test func `a voided session's sandbox is asked to end and then made to`() async throws {
        try await Self.with(script: "trap '' TERM; while :; do sleep 0.05; done", grace: "0") {
            adapter, connection, id in
            await adapter.wake()
            try connection.query("UPDATE sessions SET state = 'void'")
            let backend = ProcessBackend(directory: "\(Self.directory(id))/sessions", command: [])
            try await eventually("the sandbox is gone") {
                await adapter.wake()
                return try backend.running().isEmpty
            }
            #expect(try Self.commands(id, connection) == ["session_claimed"])
        }
    }

    @Test func `a sandbox that ended by itself leaves its log and nothing else`() async throws {
        try await Self.with(script: "exit 0") { adapter, connection, id in
            await adapter.wake()
            try connection.query("UPDATE sessions SET state = 'ended'")
            let root = "\(Self.directory(id))/sessions/bgagent-\(id)-1"
            try await eventually("the workspace is freed") {
                await adapter.wake()
                return try FileManager.default.contentsOfDirectory(atPath: root) == ["log"]
            }
        }
    }

    @Test func `a lost session's reason tells that memory was too little`() async throws {
        try await ContainerFixture.with { fixture in
            let script = "x=$(head -c 400m /dev/zero | tr '\\0' x); echo survived"
            try await Self.with(script: "", backend: fixture.backend(script)) { adapter, connection, id in
                try await eventually("the session is lost", within: ContainerFixture.patience) {
                    await adapter.wake()
                    return try Self.state(id, connection) == "void"
                }
                let commands = try connection.query(
                    "SELECT payload::text FROM task_commands WHERE command = 'session_lost'")
                let reason = try commands.only().get("payload", as: String.self)
                #expect(reason.contains("The sandbox was killed: out of memory (192 MB)."))
            }
            #expect(try fixture.corner.remains() == [])
        }
    }

    @Test func `an engine that does not answer loses no session and offers no place`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            let backend = fixture.backend("sleep 1000")
            try await Self.with(script: "", backend: backend) { adapter, connection, id in
                await adapter.wake()
                #expect(try Self.state(id, connection) == "claimed")
                let before = try Self.lastSeen(connection)
                fixture.proxy?.end()
                await adapter.wake()
                #expect(try Self.state(id, connection) == "claimed")
                #expect(try Self.lastSeen(connection) == before)
                try await fixture.proxy?.begin()
                await adapter.wake()
                #expect(try Self.state(id, connection) == "claimed")
            }
        }
    }

    private static func lastSeen(_ connection: Connection) throws -> String {
        try connection.query("SELECT last_seen::text FROM compute_nodes").only().get("last_seen", as: String.self)
    }

    @Test func `what a sandbox says and uses is kept, to its last words`() async throws {
        let script = "echo hello; while [ ! -e \"$BGAGENT_WORKSPACE/../go\" ]; do sleep 0.02; done; printf bye"
        try await Self.with(script: script) { adapter, connection, id in
            try await eventually("its first line and its usage are kept") {
                await adapter.wake()
                let usage = try connection.query("SELECT usage FROM sessions WHERE usage ->> 'pids' <> '0'")
                return try Self.said(id, connection) == ["hello"] && !usage.isEmpty
            }
            let file = "\(Self.directory(id))/sessions/bgagent-\(id)-1/go"
            try Data().write(to: URL(filePath: file))
            try await eventually("its last words are kept") {
                await adapter.wake()
                return try Self.said(id, connection) == ["hello", "bye"]
            }
            #expect(await adapter.check().allSatisfy { $0.ok })
        }
    }

    private static func said(_ id: TaskID, _ connection: Connection) throws -> [String] {
        try TaskLogStore.page(of: id, TaskLogFilter(), in: connection).lines.map(\.message)
    }

    private static func directory(_ id: TaskID) -> String { "/tmp/bgagent-adapter-\(id)" }

    private static func with(
        script: String, grace: String = "5", backend other: (any ComputeBackend)? = nil,
        _ body: @escaping @Sendable (ComputeAdapter, Connection, TaskID) async throws -> Void
    ) async throws {
        try await withScratchDatabase { url in
            let connection = try Connection(PostgresConfig(url: url, applicationName: "adapter-tests"))
            let id = try prepare(connection, backend: other?.name ?? "process")
            let directory = directory(id)
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let program = "\(directory)/agent"
            try Data("#!/bin/sh\n\(script)\n".utf8).write(to: URL(filePath: program))
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
            let config = try Environment.read(
                ComputeConfig.init,
                from: Environment([
                    "BGAGENT_POSTGRES_URL": url, "BGAGENT_AMQP_URL": "amqp://localhost", "BGAGENT_NODE": "n1",
                    "BGAGENT_DATA": directory, "BGAGENT_AGENT_COMMAND": program, "BGAGENT_STOP_GRACE": grace,
                    "PATH": "/usr/bin:/bin",
                ]))
            let backend = other ?? ProcessBackend(directory: "\(directory)/sessions", command: config.command)
            let pool = Pool(try PostgresConfig(url: url, applicationName: "adapter-tests"), size: 2)
            let adapter = try ComputeAdapter(config: config, backend: backend, pool: pool, log: .silent)
            let name = "bgagent-\(id)-1"
            do {
                try await body(adapter, connection, id)
            } catch {
                try? backend.kill(name)
                throw error
            }
            try backend.kill(name)
            try backend.remove(name)
            await pool.close()
            try FileManager.default.removeItem(atPath: directory)
        }
    }

    private static func prepare(_ connection: Connection, backend: String) throws -> TaskID {
        _ = try Migrator.run(on: connection)
        let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.query(
            """
            INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
                traceparent) VALUES (\(id.rawValue), \(user), 'acme/shop', 'x', 'b', 'm', 10, 100, '')
            """)
        try connection.query(
            """
            INSERT INTO task_heads (task_id, user_id, repo, traceparent)
            VALUES (\(id.rawValue), \(user), 'acme/shop', '')
            """)
        try connection.query(
            "INSERT INTO sessions (task_id, attempt, backend, payload) VALUES (\(id.rawValue), 1, \(backend), '{}')")
        return id
    }

    private static func state(_ id: TaskID, _ connection: Connection) throws -> String {
        try connection.query("SELECT state FROM sessions WHERE task_id = \(id.rawValue)").only()
            .get("state", as: String.self)
    }

    private static func commands(_ id: TaskID, _ connection: Connection) throws -> [String] {
        try connection.query("SELECT command FROM task_commands WHERE task_id = \(id.rawValue) ORDER BY seq")
            .map { try $0.get("command", as: String.self) }
    }
}
