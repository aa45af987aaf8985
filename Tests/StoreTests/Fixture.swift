import Domain
import Postgres
import Store
import TestSupport

/// A migrated database of one's own, with a user and a repository.
struct Fixture: Sendable {
    static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    static let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    let url: String

    func connection() throws -> Connection {
        try Connection(PostgresConfig(url: url, applicationName: "store-tests"))
    }

    /// Runs `body` with a fresh fixture.
    static func with(_ body: @escaping @Sendable (Fixture) async throws -> Void) async throws {
        try await withScratchDatabase { url in
            let fixture = Fixture(url: url)
            try fixture.prepare()
            try await body(fixture)
        }
    }

    private func prepare() throws {
        let connection = try connection()
        _ = try Migrator.run(on: connection)
        try connection.query("INSERT INTO users (user_id, name) VALUES (\(Fixture.user), 'ada')")
        try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
        try connection.query("INSERT INTO compute_nodes (node, backend, capacity) VALUES ('n1', 'process', 100)")
    }

    /// Submits a task as the gateway does, and returns its id.
    func submit(
        _ connection: Connection, user: String = Fixture.user, repo: String = "acme/shop"
    ) throws -> TaskID {
        let id: TaskID = try connection.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
        try connection.transaction { tx in
            try tx.query(
                """
                INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns,
                    max_duration_s, traceparent)
                VALUES (\(id.rawValue), \(user), \(repo), 'x', 'bgagent/x', 'm', 10, 100, \(Fixture.traceparent))
                """)
            try tx.query(
                """
                INSERT INTO task_heads (task_id, user_id, repo, traceparent)
                VALUES (\(id.rawValue), \(user), \(repo), \(Fixture.traceparent))
                """)
            try TaskLog.append(.taskCreated, to: id, attempt: 1, in: tx)
            try TaskLog.send(.taskSubmitted, to: id, attempt: 1, in: tx)
        }
        return id
    }
}
