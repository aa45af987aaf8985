import Domain
import Postgres

/// How a gate stands.
package enum ApprovalState: String, Sendable, CaseIterable, Codable {
    case pending = "PENDING"
    case approved = "APPROVED"
    case denied = "DENIED"
    /// Nobody decided in time: that is a no.
    case timedOut = "TIMED_OUT"
    /// Its attempt is over.
    case void = "VOID"
}

/// One thing that an agent wants to do and may not without leave.
package struct ApprovalRecord: Sendable {
    package let id: String
    package let taskID: TaskID
    package let repo: String
    package let attempt: Int
    package let state: ApprovalState
    /// As the agent sent it: tool_name, input, input_sha256, rule_ids, severity, summary, scopes.
    package let request: JSONValue
    package let scope: String?
    package let reason: String?
    package let decidedBy: String?
    package let createdAt: Timestamp
    package let expiresAt: Timestamp
    package let decidedAt: Timestamp?
    package let remainingSeconds: Double

    /// Scopes that the approval may cover beyond this one call.
    package var scopes: [String] { (request["scopes"]?.array ?? []).compactMap(\.string) }

    fileprivate static let columns: Query = """
        a.request_id, a.task_id, t.repo, a.attempt::bigint, a.status, a.request::text, a.scope, a.reason,
        u.name AS decided_by, a.created_at, a.expires_at, a.decided_at,
        greatest(0, extract(epoch FROM a.expires_at - clock_timestamp()))::float8 AS remaining_s
        """
    fileprivate static let tables: Query = """
         FROM task_approvals a JOIN tasks t USING (task_id) LEFT JOIN users u ON u.user_id = a.decided_by
        """

    fileprivate init(row: Row) throws {
        id = try row.get("request_id", as: String.self)
        taskID = try row.ulid("task_id")
        repo = try row.get("repo", as: String.self)
        attempt = Int(try row.get("attempt", as: Int64.self))
        state = try row.known("status")
        request = try row.json("request")
        scope = try row.get("scope", as: String?.self)
        reason = try row.get("reason", as: String?.self)
        decidedBy = try row.get("decided_by", as: String?.self)
        createdAt = try row.get("created_at", as: Timestamp.self)
        expiresAt = try row.get("expires_at", as: Timestamp.self)
        decidedAt = try row.get("decided_at", as: Timestamp?.self)
        remainingSeconds = try row.get("remaining_s", as: Double.self)
    }
}

/// Gates. The row, the task's state and the event commit together, and Postgres is the only arbiter between a decision
/// and the deadline: the first to change the row.
package enum ApprovalStore {
    /// Gates of one task, whatever becomes of them, where its repository does not say.
    private static let most = 50
    /// Gates of one task within a minute: an agent that asks more often is in a loop.
    package static let mostPerMinute = 20
    package static let thisCall = "this_call"

    /// How many gates a task may open, by the settings that it froze.
    package static func most(of task: TaskRecord) -> Int {
        task.settings["approval_gate_cap"]?.integer.map(Int.init) ?? most
    }

    /// Opens a gate, once however often the call is repeated. Nil: the task has had all of its gates.
    ///
    /// - Parameter task: the present attempt's, locked in this transaction, with its agent at work.
    package static func open(
        _ request: JSONValue, clientID: String, seconds: Int, of task: TaskRecord, in tx: Connection
    ) throws -> ApprovalRecord? {
        let same: Query =
            "SELECT " + ApprovalRecord.columns + ApprovalRecord.tables + """
                 WHERE a.task_id = \(task.id.rawValue) AND a.attempt = \(Int32(task.attempt))
                    AND a.client_id = \(clientID)
                """
        if let row = try tx.query(same).first { return try ApprovalRecord(row: row) }
        let counts = try tx.query(
            """
            SELECT count(*) AS all, count(*) FILTER (WHERE created_at > clock_timestamp() - interval '1 minute') AS recent
            FROM task_approvals WHERE task_id = \(task.id.rawValue)
            """
        ).only()
        guard try counts.get("all", as: Int.self) < most(of: task),
            try counts.get("recent", as: Int.self) < mostPerMinute
        else {
            return nil
        }
        if task.status == .running {
            try TaskStore.move(task, on: .gateOpened, in: tx)
            try TimerStore.clear(.duration, of: task.id, in: tx)
        }
        try tx.query(
            """
            INSERT INTO task_approvals (task_id, attempt, client_id, request, created_at, expires_at)
            VALUES (\(task.id.rawValue), \(Int32(task.attempt)), \(clientID), \(request.text)::jsonb,
                clock_timestamp(), clock_timestamp() + make_interval(secs => \(Double(seconds))))
            """)
        let record = try ApprovalRecord(row: try tx.query(same).only())
        var told = request.object ?? [:]
        told["request_id"] = .string(record.id)
        told["timeout_s"] = JSONValue(seconds)
        told["expires_at"] = .string(record.expiresAt.iso8601)
        try TaskLog.append(.approvalRequired, to: task.id, attempt: task.attempt, .object(told), in: tx)
        return record
    }

    /// Whether a task's agent asks people before it does what the soft rules name.
    package static func hasGates(_ task: TaskRecord) -> Bool { task.settings["approval_gates"]?.bool ?? false }

    /// How many gates a task may still open.
    package static func left(_ task: TaskRecord, in connection: Connection) throws -> Int {
        let opened = try connection.query(
            "SELECT count(*) AS n FROM task_approvals WHERE task_id = \(task.id.rawValue)")
        return max(0, most(of: task) - (try opened.only().get("n", as: Int.self)))
    }

    package static func find(_ id: String, of task: TaskID, in connection: Connection) throws -> ApprovalRecord? {
        let query: Query =
            "SELECT " + ApprovalRecord.columns + ApprovalRecord.tables + """
                 WHERE a.task_id = \(task.rawValue) AND a.request_id = \(id)
                """
        return try connection.query(query).first.map(ApprovalRecord.init(row:))
    }

    /// Whose request it is; nil when there is none.
    package static func task(of id: String, in connection: Connection) throws -> TaskID? {
        try connection.query("SELECT task_id FROM task_approvals WHERE request_id = \(id)").first?.ulid("task_id")
    }

    /// Oldest first; the newest hundred.
    package static func list(_ task: TaskID, in connection: Connection) throws -> [ApprovalRecord] {
        let query: Query =
            "SELECT " + ApprovalRecord.columns + ApprovalRecord.tables + """
                 WHERE a.task_id = \(task.rawValue) ORDER BY a.request_id DESC LIMIT 100
                """
        return try connection.query(query).map(ApprovalRecord.init(row:)).reversed()
    }

    /// Open ones, the most urgent first.
    ///
    /// - Parameters:
    ///   - viewer: whose tasks and grants count; nil = everybody's.
    ///   - task: only this one's.
    package static func open(
        for viewer: UserID?, of task: TaskID? = nil, in connection: Connection
    ) throws -> [ApprovalRecord] {
        let query: Query =
            "SELECT " + ApprovalRecord.columns + ApprovalRecord.tables + """
                 WHERE a.status = 'PENDING' AND a.expires_at > clock_timestamp()
                    AND (\(task?.rawValue)::text IS NULL OR a.task_id = \(task?.rawValue))
                    AND \(GrantStore.isSeen(by: viewer))
                ORDER BY a.expires_at, a.request_id LIMIT 100
                """
        return try connection.query(query).map(ApprovalRecord.init(row:))
    }

    /// What a person decided; the first decision counts. False: it was decided, expired or void before.
    ///
    /// - Parameters:
    ///   - scope: what is allowed from now on beyond this call; one of those that the request offers.
    ///   - reason: the model reads it. Without secrets.
    ///   - task: locked in this transaction.
    package static func decide(
        _ approval: ApprovalRecord, allows: Bool, scope: String?, reason: String?, of task: TaskRecord,
        by user: UserID, named name: String, in tx: Connection
    ) throws -> Bool {
        let state: ApprovalState = allows ? .approved : .denied
        let decided = try tx.query(
            """
            UPDATE task_approvals SET status = \(state.rawValue), decided_at = clock_timestamp(),
                decided_by = \(user.rawValue), scope = \(allows ? scope ?? thisCall : nil), reason = \(reason)
            WHERE request_id = \(approval.id) AND status = 'PENDING' AND expires_at > clock_timestamp()
            """)
        guard decided.affected == 1 else { return false }
        if allows, let scope, scope != thisCall {
            try tx.query(
                """
                INSERT INTO task_allowances (task_id, scope, user_id)
                VALUES (\(task.id.rawValue), \(scope), \(user.rawValue)) ON CONFLICT DO NOTHING
                """)
        }
        var told: [String: JSONValue] = [
            "request_id": .string(approval.id), "status": .string(state.rawValue), "decided_by": .string(name),
        ]
        if allows { told["scope"] = .string(scope ?? thisCall) }
        if let reason { told["reason"] = .string(reason) }
        try close(task, told, in: tx)
        told["status"] = nil
        told["state"] = .string(state.rawValue.lowercased())
        told["from"] = told.removeValue(forKey: "decided_by")
        try InboxStore.put("decision", for: task.id, attempt: approval.attempt, .object(told), in: tx)
        return true
    }

    /// The agent has waited long enough. What then stands is what counts, a late decision included.
    package static func expire(_ id: String, of task: TaskRecord, in tx: Connection) throws -> ApprovalRecord? {
        let expired = try tx.query(
            """
            UPDATE task_approvals SET status = 'TIMED_OUT', decided_at = clock_timestamp()
            WHERE request_id = \(id) AND task_id = \(task.id.rawValue) AND status = 'PENDING'
            """
        ).affected
        if expired == 1 {
            let status = JSONValue.string(ApprovalState.timedOut.rawValue)
            try close(task, ["request_id": .string(id), "status": status], in: tx)
        }
        return try find(id, of: task.id, in: tx)
    }

    /// Tells the decision; with the last open gate the task runs again, and its clock with it.
    private static func close(_ task: TaskRecord, _ told: [String: JSONValue], in tx: Connection) throws {
        try TaskLog.append(.approvalDecided, to: task.id, attempt: task.attempt, .object(told), in: tx)
        let open = try tx.query(
            "SELECT 1 FROM task_approvals WHERE task_id = \(task.id.rawValue) AND status = 'PENDING' LIMIT 1")
        guard open.isEmpty, task.status == .awaitingApproval else { return }
        let running = try TaskStore.move(task, on: .gatesClosed, in: tx)
        try TimerStore.set(
            .duration, of: task.id, attempt: task.attempt, inSeconds: Double(running.remainingSeconds), in: tx)
    }

    /// An attempt is over, and with it what it wanted to do.
    static func void(_ task: TaskID, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE task_approvals SET status = 'VOID', decided_at = clock_timestamp()
            WHERE task_id = \(task.rawValue) AND status = 'PENDING'
            """)
    }

    /// What people have allowed for the rest of a task, oldest first.
    package static func allowances(_ task: TaskID, in connection: Connection) throws -> [String] {
        try connection.query(
            "SELECT scope FROM task_allowances WHERE task_id = \(task.rawValue) ORDER BY allowed_at, scope"
        ).map { try $0.get("scope", as: String.self) }
    }
}
