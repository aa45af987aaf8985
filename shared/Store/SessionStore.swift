import Domain
import Postgres

/// The three keys of one attempt, as hashes. The plain ones exist in the sandbox alone.
package struct SessionTokenHashes: Sendable {
    package let harness: String
    package let git: String
    package let model: String

    package init(harness: String, git: String, model: String) {
        self.harness = harness
        self.git = git
        self.model = model
    }
}

/// What a session's token opens: each only its own paths.
package enum SessionScope: String, Sendable, CaseIterable {
    case harness, git, model

    fileprivate var column: Query {
        switch self {
        case .harness: "harness_token_hash"
        case .git: "git_token_hash"
        case .model: "model_token_hash"
        }
    }
}

/// One attempt as stored.
package struct SessionRecord: Sendable {
    package let taskID: TaskID
    package let attempt: Int
    package let state: String
    package let backend: String
    package let node: String?
    package let lastClientSeq: Int64
    package let hasResult: Bool
    /// `bgagent-<task>-<attempt>`: the same for whoever asks, so that what is found running can be named.
    package var name: String { "bgagent-\(taskID)-\(attempt)" }

    package static let columns: Query = """
        s.task_id, s.attempt, s.state, s.backend, s.node, s.last_client_seq, s.result IS NOT NULL AS has_result
        """

    package init(row: Row) throws {
        taskID = try row.ulid("task_id")
        attempt = try row.get("attempt", as: Int.self)
        state = try row.get("state", as: String.self)
        backend = try row.get("backend", as: String.self)
        node = try row.get("node", as: String?.self)
        lastClientSeq = try row.get("last_client_seq", as: Int64.self)
        hasResult = try row.get("has_result", as: Bool.self)
    }
}

/// Attempts: requested → claimed → running → ended | void. The lease is on the database's clock alone.
package enum SessionStore {
    /// Asks for a sandbox. The start message is a hint; the row is the request.
    package static func request(_ task: TaskRecord, backend: String, payload: JSONValue, in tx: Connection) throws {
        try tx.query(
            """
            INSERT INTO sessions (task_id, attempt, backend, payload)
            VALUES (\(task.id.rawValue), \(task.attempt), \(backend), \(payload.text)::jsonb)
            """)
        try tx.query(
            TaskLog.compute(
                "start", routingKey: "start.\(backend)", task: task.id, attempt: task.attempt,
                ["task_id": .string(task.id.rawValue), "attempt": JSONValue(task.attempt)]))
    }

    /// Takes a requested session for `node` by compare-and-set and starts its lease. False: somebody else has it, or
    /// it was voided.
    package static func claim(
        _ id: TaskID, attempt: Int, node: String, tokens: SessionTokenHashes, lease: Int, in tx: Connection
    ) throws -> Bool {
        let claimed = try tx.behindHead(
            of: id,
            """
            UPDATE sessions SET state = 'claimed', node = \(node), claimed_at = clock_timestamp(),
                lease_until = clock_timestamp() + make_interval(secs => \(Double(lease))),
                harness_token_hash = \(tokens.harness), git_token_hash = \(tokens.git),
                model_token_hash = \(tokens.model)
            WHERE task_id = \(id.rawValue) AND attempt = \(attempt) AND state = 'requested'
                AND NOT EXISTS (SELECT FROM compute_nodes n WHERE n.node = \(node) AND n.draining)
            """)
        guard claimed.affected == 1 else { return false }
        try TaskLog.send(.sessionClaimed, to: id, attempt: attempt, ["node": .string(node)], in: tx)
        return true
    }

    package static func load(_ id: TaskID, attempt: Int, in connection: Connection) throws -> SessionRecord? {
        try connection.query(
            "SELECT " + SessionRecord.columns + """
                 FROM sessions s WHERE s.task_id = \(id.rawValue) AND s.attempt = \(attempt)
                """
        ).first.map(SessionRecord.init(row:))
    }

    /// Requested sessions of a backend that nobody claimed, oldest first: what a lost hint left behind.
    package static func requested(backend: String, limit: Int, in connection: Connection) throws -> [SessionRecord] {
        try connection.query(
            "SELECT " + SessionRecord.columns + """
                 FROM sessions s WHERE s.state = 'requested' AND s.backend = \(backend)
                ORDER BY s.requested_at LIMIT \(limit)
                """
        ).map(SessionRecord.init(row:))
    }

    /// The sessions that `node` should have running.
    package static func live(node: String, in connection: Connection) throws -> [SessionRecord] {
        try connection.query(
            "SELECT " + SessionRecord.columns + """
                 FROM sessions s WHERE s.state IN ('claimed', 'running') AND s.node = \(node)
                """
        ).map(SessionRecord.init(row:))
    }

    /// Whose session a token opens. Nil: unknown, of another scope, or dead.
    package static func authenticate(
        tokenHash: String, scope: SessionScope, in connection: Connection
    ) throws -> SessionRecord? {
        try connection.query(
            "SELECT " + SessionRecord.columns + " FROM sessions s WHERE s." + scope.column + " = \(tokenHash)"
        ).first.map(SessionRecord.init(row:))
    }

    /// Renews the lease of the current epoch. False when the attempt is over: its agent must stop.
    package static func renew(_ id: TaskID, attempt: Int, lease: Int, in connection: Connection) throws -> Bool {
        try connection.query(
            """
            UPDATE sessions s SET lease_until = clock_timestamp() + make_interval(secs => \(Double(lease)))
            FROM tasks t
            WHERE s.task_id = \(id.rawValue) AND s.attempt = \(attempt) AND s.state IN ('claimed', 'running')
                AND t.task_id = s.task_id AND t.attempt = s.attempt
            """
        ).affected == 1
    }

    /// The agent asked for its work: it is there. Tells the orchestrator once.
    package static func start(_ id: TaskID, attempt: Int, in tx: Connection) throws {
        let started = try tx.behindHead(
            of: id,
            """
            UPDATE sessions SET state = 'running', started_at = clock_timestamp()
            WHERE task_id = \(id.rawValue) AND attempt = \(attempt) AND state = 'claimed'
            """)
        if started.affected == 1 {
            try TaskLog.send(.sessionStarted, to: id, attempt: attempt, in: tx)
        }
    }

    /// Locks the session of an attempt that may still write, behind its task's head, and returns its last client_seq;
    /// until the end of the transaction nobody can give the attempt up. Nil: it is over.
    package static func lockLive(_ id: TaskID, attempt: Int, in tx: Connection) throws -> Int64? {
        try tx.query(
            """
            SELECT s.last_client_seq FROM task_heads h JOIN sessions s USING (task_id) JOIN tasks t USING (task_id)
            WHERE h.task_id = \(id.rawValue) AND s.attempt = \(attempt) AND s.state IN ('claimed', 'running')
                AND t.attempt = s.attempt AND NOT is_final(t.status)
            FOR NO KEY UPDATE OF h, s
            """
        ).first?.get("last_client_seq", as: Int64.self)
    }

    /// Stores the result once and ends the lease. False: the attempt was over already, and nothing changed.
    @discardableResult
    package static func end(_ id: TaskID, attempt: Int, result: JSONValue, in tx: Connection) throws -> Bool {
        let ended = try tx.behindHead(
            of: id,
            """
            UPDATE sessions SET state = 'ended', ended_at = clock_timestamp(), result = \(result.text)::jsonb
            WHERE task_id = \(id.rawValue) AND attempt = \(attempt) AND state IN ('claimed', 'running')
            """)
        guard ended.affected == 1 else { return false }
        try TaskLog.send(.sessionEnded, to: id, attempt: attempt, result, in: tx)
        return true
    }

    /// Voids a session whose sandbox is gone and tells the orchestrator. False when it was over already.
    package static func lose(_ id: TaskID, attempt: Int, reason: String, in tx: Connection) throws -> Bool {
        let voided = try tx.behindHead(
            of: id,
            """
            UPDATE sessions SET state = 'void', harness_token_hash = NULL, git_token_hash = NULL,
                model_token_hash = NULL
            WHERE task_id = \(id.rawValue) AND attempt = \(attempt) AND state IN ('claimed', 'running')
            """)
        guard voided.affected == 1 else { return false }
        try TaskLog.send(.sessionLost, to: id, attempt: attempt, ["reason": .string(reason)], in: tx)
        return true
    }

    package static func payload(_ id: TaskID, attempt: Int, in connection: Connection) throws -> JSONValue? {
        try connection.query(
            "SELECT payload::text FROM sessions WHERE task_id = \(id.rawValue) AND attempt = \(attempt)"
        ).first?.json("payload")
    }

    package static func result(_ id: TaskID, attempt: Int, in connection: Connection) throws -> JSONValue? {
        try connection.query(
            """
            SELECT result::text FROM sessions
            WHERE task_id = \(id.rawValue) AND attempt = \(attempt) AND result IS NOT NULL
            """
        ).first?.json("result")
    }

    /// Live sessions whose lease is over, by task id from behind `after` on, locked with their tasks: a heartbeat comes
    /// before the look or finds the attempt moved. What somebody else works on is left to him.
    package static func expired(
        after: TaskID? = nil, limit: Int, in tx: Connection
    ) throws -> [TaskRecord] {
        try tx.query(
            "SELECT " + TaskRecord.columns + """
                 FROM tasks t JOIN task_heads h USING (task_id) JOIN sessions s USING (task_id, attempt)
                WHERE t.task_id > \(after?.rawValue ?? "") AND s.state IN ('claimed', 'running') AND s.lease_until < clock_timestamp()
                    AND t.status IN ('HYDRATING', 'RUNNING', 'AWAITING_APPROVAL')
                ORDER BY t.task_id LIMIT \(limit) FOR NO KEY UPDATE OF t, h, s SKIP LOCKED
                """
        ).map(TaskRecord.init(row:))
    }
}

extension Connection {
    /// A change of a task's session in the lock order: the head first, in the same round trip.
    fileprivate func behindHead(of task: TaskID, _ change: Query) throws -> Rows {
        guard let changed = try pipeline([TaskLog.lockHead(task), change]).last else {
            throw StoreError.noRow("sessions")
        }
        return changed
    }
}
