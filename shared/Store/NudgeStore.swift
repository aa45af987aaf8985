import Domain
import Postgres

/// When a nudge reaches the agent.
package enum NudgeMode: String, Sendable, CaseIterable, Codable {
    /// In the model's very next request, behind the tool that is running.
    case next
    /// In place of the tool call that is about to start.
    case steer
    /// At once: what is running is stopped.
    case interrupt
}

/// How far a nudge has come.
package enum NudgeState: String, Sendable, CaseIterable, Codable {
    case accepted
    /// An agent has claimed it. If that agent dies first, the next one gets it.
    case acknowledged
    /// It is in a request of the model.
    case delivered
    case withdrawn
    /// The task ended first.
    case expired
}

/// A person's word to a running agent.
package struct NudgeRecord: Sendable {
    package let id: String
    package let taskID: TaskID
    package let userName: String
    package let mode: NudgeMode
    package let message: String
    package let state: NudgeState
    package let submittedAt: Timestamp
    package let acknowledgedAt: Timestamp?
    package let deliveredAt: Timestamp?
    package let turn: Int?

    fileprivate static let columns: Query = """
        n.nudge_id, n.task_id, u.name AS user_name, n.mode, n.message, n.state, n.submitted_at, n.acknowledged_at,
        n.delivered_at, n.turn::bigint
        """

    fileprivate init(row: Row) throws {
        id = try row.get("nudge_id", as: String.self)
        taskID = try row.ulid("task_id")
        userName = try row.get("user_name", as: String.self)
        mode = try row.known("mode")
        message = try row.get("message", as: String.self)
        state = try row.known("state")
        submittedAt = try row.get("submitted_at", as: Timestamp.self)
        acknowledgedAt = try row.get("acknowledged_at", as: Timestamp?.self)
        deliveredAt = try row.get("delivered_at", as: Timestamp?.self)
        turn = try row.get("turn", as: Int64?.self).map(Int.init)
    }
}

/// Nudges and their receipts. Each step is an event in the transaction that makes it.
package enum NudgeStore {
    /// - Parameters:
    ///   - task: locked in this transaction, not over.
    ///   - message: up to 2 KB; what looks like a secret was replaced before.
    package static func add(
        _ message: String, mode: NudgeMode, to task: TaskRecord, by user: UserID, named name: String,
        in tx: Connection
    ) throws -> NudgeRecord {
        let now = Timestamp.now
        let id = try InboxStore.put(
            "nudge", for: task.id,
            [
                "mode": .string(mode.rawValue), "text": .string(message), "from": .string(name),
                "sent_at": .string(now.iso8601),
            ],
            in: tx)
        try tx.query(
            """
            INSERT INTO task_nudges (nudge_id, task_id, user_id, mode, message)
            VALUES (\(id), \(task.id.rawValue), \(user.rawValue), \(mode.rawValue), \(message))
            """)
        try TaskLog.append(
            .nudgeAccepted, to: task.id, attempt: task.attempt,
            ["nudge_id": .string(id), "mode": .string(mode.rawValue), "from": .string(name)], in: tx)
        guard let made = try find(id, of: task.id, in: tx) else { throw StoreError.noRow("task_nudges") }
        return made
    }

    /// How many were accepted for a task within so many seconds.
    package static func count(of task: TaskID, withinSeconds seconds: Int, in connection: Connection) throws -> Int {
        try connection.query(
            """
            SELECT count(*) AS count FROM task_nudges WHERE task_id = \(task.rawValue)
                AND submitted_at > clock_timestamp() - make_interval(secs => \(Double(seconds)))
            """
        ).only().get("count", as: Int.self)
    }

    /// Oldest first; the newest hundred.
    package static func list(_ task: TaskID, in connection: Connection) throws -> [NudgeRecord] {
        let query: Query =
            "SELECT " + NudgeRecord.columns + """
                 FROM task_nudges n JOIN users u USING (user_id) WHERE n.task_id = \(task.rawValue)
                ORDER BY n.nudge_id DESC LIMIT 100
                """
        return try connection.query(query).map(NudgeRecord.init(row:)).reversed()
    }

    package static func find(_ id: String, of task: TaskID, in connection: Connection) throws -> NudgeRecord? {
        let query: Query =
            "SELECT " + NudgeRecord.columns + """
                 FROM task_nudges n JOIN users u USING (user_id)
                WHERE n.task_id = \(task.rawValue) AND n.nudge_id = \(id)
                """
        return try connection.query(query).first.map(NudgeRecord.init(row:))
    }

    /// Takes one back that no agent has claimed. False when one has, or when it was over before.
    package static func withdraw(
        _ nudge: NudgeRecord, from task: TaskRecord, by name: String, in tx: Connection
    ) throws -> Bool {
        try tx.query(TaskLog.lockHead(task.id))
        guard try InboxStore.withdraw(nudge.id, in: tx) else { return false }
        try tx.query("UPDATE task_nudges SET state = 'withdrawn' WHERE nudge_id = \(nudge.id)")
        try TaskLog.append(
            .nudgeWithdrawn, to: task.id, attempt: task.attempt,
            ["nudge_id": .string(nudge.id), "withdrawn_by": .string(name)], in: tx)
        return true
    }

    /// The agent's receipt; a repeat changes and tells nothing.
    static func receive(
        _ id: String, of task: TaskRecord, isDelivered: Bool, turn: Int?, in tx: Connection
    ) throws {
        let claimed = try tx.query(
            """
            UPDATE task_nudges SET state = 'acknowledged', acknowledged_at = clock_timestamp()
            WHERE nudge_id = \(id) AND state = 'accepted'
            """
        ).affected
        if claimed == 1 {
            try TaskLog.append(
                .nudgeAcknowledged, to: task.id, attempt: task.attempt, ["nudge_id": .string(id)], in: tx)
        }
        guard isDelivered else { return }
        let delivered = try tx.query(
            """
            UPDATE task_nudges SET state = 'delivered', delivered_at = clock_timestamp(),
                turn = \(turn.map(Int64.init))::int
            WHERE nudge_id = \(id) AND state = 'acknowledged' RETURNING mode
            """)
        guard let row = delivered.first else { return }
        var told: [String: JSONValue] = [
            "nudge_id": .string(id), "mode": .string(try row.get("mode", as: String.self)),
        ]
        if let turn { told["turn"] = JSONValue(turn) }
        try TaskLog.append(.nudgeDelivered, to: task.id, attempt: task.attempt, .object(told), in: tx)
    }

    /// The task ends: what did not reach the model never will.
    static func expire(_ task: TaskRecord, in tx: Connection) throws {
        let open = try tx.query(
            """
            UPDATE task_nudges SET state = 'expired'
            WHERE task_id = \(task.id.rawValue) AND state IN ('accepted', 'acknowledged') RETURNING nudge_id
            """)
        for id in try open.map({ try $0.get("nudge_id", as: String.self) }).sorted() {
            try TaskLog.append(.nudgeExpired, to: task.id, attempt: task.attempt, ["nudge_id": .string(id)], in: tx)
        }
    }
}

extension Row {
    /// A column that holds one of a type's words. Throws `StoreError.corrupt` for a word of another release.
    func known<Word: RawRepresentable<String>>(_ column: String) throws -> Word {
        guard let word = Word(rawValue: try get(column, as: String.self)) else { throw StoreError.corrupt(column) }
        return word
    }
}
