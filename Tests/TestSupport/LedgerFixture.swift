import Domain
import Notifications
import Postgres
import Store

/// A migrated database of one's own with a user and a repository: for tests of what is told to people.
package struct LedgerFixture: Sendable {
    package static let user = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    package static let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    package let url: String
    package let pool: Pool

    /// Runs `body` with a fresh fixture and closes its connections afterwards.
    package static func with<Result>(
        isolation: isolated (any Actor)? = #isolation, _ body: (LedgerFixture) async throws -> Result
    ) async throws -> Result {
        try await withScratchDatabase { url in
            let pool = Pool(try PostgresConfig(url: url, applicationName: "ledger-tests"), size: 6)
            do {
                try await pool.run { connection in
                    _ = try Migrator.run(on: connection)
                    try connection.query("INSERT INTO users (user_id, name) VALUES (\(user), 'ada')")
                    try connection.query("INSERT INTO repos (repo) VALUES ('acme/shop')")
                }
                let result = try await body(LedgerFixture(url: url, pool: pool))
                await pool.close()
                return result
            } catch {
                await pool.close()
                throw error
            }
        }
    }

    /// A task as the gateway stores it, without any event.
    package func submit(issue: Int? = 7, description: String = "fix the failing test") async throws -> TaskID {
        try await pool.transaction { tx in
            let id: TaskID = try tx.query("SELECT new_ulid(now_ms()) AS id").only().ulid("id")
            try tx.query(
                """
                INSERT INTO tasks (task_id, user_id, repo, issue_number, task_description, branch_name, model,
                    max_turns, max_duration_s, traceparent)
                VALUES (\(id.rawValue), \(LedgerFixture.user), 'acme/shop', \(issue.map(Int64.init))::int,
                    \(description), 'bgagent/x', 'm', 10, 100, \(LedgerFixture.traceparent))
                """)
            try tx.query(
                """
                INSERT INTO task_heads (task_id, user_id, repo, traceparent)
                VALUES (\(id.rawValue), \(LedgerFixture.user), 'acme/shop', \(LedgerFixture.traceparent))
                """)
            return id
        }
    }

    /// Plans one notification as fanout does, and returns its id.
    @discardableResult
    package func plan(
        _ type: TaskEventType, of task: TaskID, on channel: String, to target: String, metadata: JSONValue = [:]
    ) async throws -> String {
        try await pool.transaction { tx in
            let row = try tx.query(TaskLog.event(type, of: task, attempt: 1, metadata)).only()
            let event = TaskNotification.Event(
                id: try row.get("event_id", as: String.self), seq: try row.get("seq", as: Int64.self),
                type: type.rawValue, timestamp: "2025-01-31T12:00:00Z", metadata: metadata)
            var subject = TaskNotification.Subject(
                id: task.rawValue, repo: "acme/shop", status: "RUNNING", issue: 7, title: "fix the failing test")
            subject.costMicros = 420_000
            let id = try TaskNotification.id(event: event.id, channel: channel, target: target)
            let payload = try JSONText.encode(TaskNotification(event: event, task: subject))
            try tx.pipeline(
                NotificationStore.plan(
                    [PlannedNotification(effectID: id, channel: channel, target: target, payload: payload)], of: task,
                    attempt: 1, eventID: event.id, seq: event.seq, type: event.type))
            return id
        }
    }

    /// One row of the ledger as tests look at it.
    package struct Entry: Sendable, Hashable {
        package let id: String
        package let type: String
        package let state: String
        package let attempts: Int
        package let externalRef: String?
        package let lastError: String?
    }

    /// The notifications of a task in the order in which they were planned.
    package func ledger(_ task: TaskID) async throws -> [Entry] {
        try await pool.run { connection in
            try connection.query(
                """
                SELECT effect_id, event_type, state, attempts::bigint, external_ref, last_error FROM effects
                WHERE task_id = \(task.rawValue) AND kind = 'notification' ORDER BY position
                """
            ).map { row in
                Entry(
                    id: try row.get("effect_id", as: String.self), type: try row.get("event_type", as: String.self),
                    state: try row.get("state", as: String.self),
                    attempts: Int(try row.get("attempts", as: Int64.self)),
                    externalRef: try row.get("external_ref", as: String?.self),
                    lastError: try row.get("last_error", as: String?.self))
            }
        }
    }

    /// The states alone.
    package func states(_ task: TaskID) async throws -> [String] { try await ledger(task).map(\.state) }
}
