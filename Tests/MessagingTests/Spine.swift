import AMQP
import Domain
import FoundationEssentials
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

/// A migrated database and a virtual host of one's own, with a table for effects.
struct Spine: Sendable {
    static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    static let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    /// The name that sessions of the parts under test bear in Postgres.
    static let underTest = "under-test"

    let database: String
    let broker: String

    /// Runs `body` with fresh ones; everything of the platform is declared.
    static func with(_ body: @escaping @Sendable (Spine) async throws -> Void) async throws {
        try await withScratchDatabase { database in
            try await withScratchVhost { broker in
                let spine = Spine(database: database, broker: broker)
                try spine.prepare()
                let connection = try await AMQPConnection.open(AMQPConfig(url: broker))
                try await connection.declare(Exchanges.platform(backends: []))
                await connection.close()
                try await body(spine)
            }
        }
    }

    private func prepare() throws {
        let connection = try connection()
        _ = try Migrator.run(on: connection)
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(Spine.user), 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        try connection.execute(
            script: """
                CREATE TABLE spine_effects (
                    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, task_id text NOT NULL,
                    seq bigint NOT NULL, worker text NOT NULL, queue text,
                    at timestamptz NOT NULL DEFAULT clock_timestamp(), UNIQUE (task_id, seq))
                """)
    }

    // MARK: The database

    func connection() throws -> Connection {
        try Connection(try PostgresConfig(url: database, applicationName: "tests"))
    }

    /// A task as the gateway submits it: event 1 and command 1.
    func submit(_ connection: Connection) throws -> TaskID {
        let id = Spine.task()
        try connection.transaction { tx in
            try tx.query(
                """
                INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns,
                    max_duration_s, traceparent)
                VALUES (\(id.rawValue), \(Spine.user), 'acme/shop', 'x', 'bgagent/x', 'm', 10, 100,
                    \(Spine.traceparent))
                """)
            try tx.query(
                """
                INSERT INTO task_heads (task_id, user_id, repo, traceparent)
                VALUES (\(id.rawValue), \(Spine.user), 'acme/shop', \(Spine.traceparent))
                """)
            try TaskLog.append(.taskCreated, to: id, attempt: 1, in: tx)
            try TaskLog.send(.taskSubmitted, to: id, attempt: 1, in: tx)
        }
        return id
    }

    /// The seqs of a task's effects, in the order in which they were committed.
    func effects(of task: TaskID) throws -> [Int64] {
        try connection().query("SELECT seq FROM spine_effects WHERE task_id = \(task.rawValue) ORDER BY position").map {
            try $0.get("seq")
        }
    }

    /// The first column of the first row: counts.
    func count(_ query: Query) throws -> Int {
        try connection().query(query).only().get(0)
    }

    /// Messages that wait in Postgres.
    func parked() throws -> Int { try count("SELECT count(*) FROM parked_messages") }

    /// Messages put aside.
    func deadLetters() throws -> Int { try count("SELECT count(*) FROM dead_letters") }

    /// Ends the sessions of the parts under test, as a crash of the server would.
    func terminateSessions() throws {
        try connection().query(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = \(Spine.underTest)
            """)
    }

    // MARK: The broker

    /// An id of a task that need not exist.
    static func task() -> TaskID {
        var random = SystemRandomNumberGenerator()
        return task(using: &random)
    }

    static func task(using random: inout some RandomNumberGenerator) -> TaskID {
        let tail = (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) }
        let text = ULID.make(milliseconds: 1_700_000_000_000, random: tail)
        guard let id = TaskID(rawValue: text) else { preconditionFailure("\(text) is no id") }
        return id
    }

    /// A command as the relay would publish it.
    static func message(_ task: TaskID, _ seq: Int64, type: String = "work", body: String = "{}") -> Publishing {
        Publishing(
            exchange: TaskStream.commands.exchange, routingKey: "\(task).\(type)", messageID: "\(task)-\(seq)",
            correlationID: task.rawValue, type: type, contentType: "application/json",
            headers: ["stream_seq": .int(seq), "attempt": .int(1), "traceparent": .string(Spine.traceparent)],
            body: Array(body.utf8))
    }

    /// Publishes on a connection of its own and waits for the confirms.
    func publish(_ messages: [Publishing]) async throws {
        let connection = try await AMQPConnection.open(AMQPConfig(url: broker))
        let results = try await connection.publish(messages)
        await connection.close()
        guard results.allSatisfy({ $0 == .confirmed }) else { throw AMQPError(.invalidArgument, "not all confirmed") }
    }

    /// Messages that the command queues hold ready.
    func depth() async throws -> Int {
        let connection = try await AMQPConnection.open(AMQPConfig(url: broker))
        var sum = 0
        for queue in TaskStream.commands.queues { sum += try await connection.passiveDeclare(queue: queue).messages }
        await connection.close()
        return sum
    }

    /// Makes the broker close the connections to the virtual host, as an operator would; with `ofWorkers` only those
    /// of other processes, which ask for a heartbeat of one second.
    func closeConnections(ofWorkers: Bool = false) async throws {
        struct Found: Decodable {
            let name: String
            let timeout: Int?
        }
        let api = try BrokerAPI()
        let vhost = api.vhost(ofURL: broker)
        try await eventually("there is a connection to close") {
            let heartbeats = try JSONDecoder().decode(
                [Found].self, from: Data(try await api.send("GET", "/connections"))
            )
            .reduce(into: [:]) { $0[$1.name] = $1.timeout }
            let open = try await api.connections(toVhost: vhost).filter { !ofWorkers || heartbeats[$0.name] == 1 }
            for connection in open { try await api.close(connection) }
            return !open.isEmpty
        }
    }

    /// The port of the broker.
    func brokerPort() throws -> Int { try AMQPConfig(url: broker).port }
}
