import Domain
import Postgres

/// How a person's question stands.
package enum AskState: String, Sendable, CaseIterable, Codable {
    case open
    case answered
    /// Nobody waits for it any more; an answer that comes late is kept all the same.
    case expired
    /// The task ended without an answer.
    case closed
}

/// A person's question to a running agent.
package struct AskRecord: Sendable {
    package let id: String
    package let taskID: TaskID
    package let userName: String
    package let question: String
    package let state: AskState
    package let answer: String?
    package let turn: Int?
    package let askedAt: Timestamp
    package let expiresAt: Timestamp
    package let answeredAt: Timestamp?

    /// An open question whose time is over counts as expired, whoever looks first.
    fileprivate static let columns: Query = """
        a.ask_id, a.task_id, u.name AS user_name, a.question, a.answer, a.turn::bigint, a.asked_at, a.expires_at,
        a.answered_at,
        CASE WHEN a.state = 'open' AND a.expires_at <= clock_timestamp() THEN 'expired' ELSE a.state END AS state
        """

    fileprivate init(row: Row) throws {
        id = try row.get("ask_id", as: String.self)
        taskID = try row.ulid("task_id")
        userName = try row.get("user_name", as: String.self)
        question = try row.get("question", as: String.self)
        state = try row.known("state")
        answer = try row.get("answer", as: String?.self)
        turn = try row.get("turn", as: Int64?.self).map(Int.init)
        askedAt = try row.get("asked_at", as: Timestamp.self)
        expiresAt = try row.get("expires_at", as: Timestamp.self)
        answeredAt = try row.get("answered_at", as: Timestamp?.self)
    }
}

/// What became of a question that somebody wanted to ask.
package enum AskResult: Sendable {
    case asked(AskRecord)
    /// An earlier one of theirs is open still.
    case busy(AskRecord)
}

/// Questions of people and the agent's answers. Durable: who asked may go away and look later.
package enum AskStore {
    /// - Parameters:
    ///   - task: locked in this transaction, not over.
    ///   - seconds: how long somebody waits.
    package static func ask(
        _ question: String, seconds: Int, of task: TaskRecord, by user: UserID, named name: String, in tx: Connection
    ) throws -> AskResult {
        try tx.query(
            """
            UPDATE task_asks SET state = 'expired'
            WHERE task_id = \(task.id.rawValue) AND user_id = \(user.rawValue) AND state = 'open'
                AND expires_at <= clock_timestamp()
            """)
        let earlier: Query =
            "SELECT " + AskRecord.columns + """
                 FROM task_asks a JOIN users u USING (user_id)
                WHERE a.task_id = \(task.id.rawValue) AND a.user_id = \(user.rawValue) AND a.state = 'open'
                """
        if let open = try tx.query(earlier).first { return .busy(try AskRecord(row: open)) }
        let id = try InboxStore.put(
            "ask", for: task.id,
            [
                "text": .string(question), "from": .string(name), "sent_at": .string(Timestamp.now.iso8601),
            ], in: tx)
        try tx.query(
            """
            INSERT INTO task_asks (ask_id, task_id, user_id, question, expires_at)
            VALUES (\(id), \(task.id.rawValue), \(user.rawValue), \(question),
                clock_timestamp() + make_interval(secs => \(Double(seconds))))
            """)
        guard let made = try find(id, of: task.id, in: tx) else { throw StoreError.noRow("task_asks") }
        return .asked(made)
    }

    package static func find(_ id: String, of task: TaskID, in connection: Connection) throws -> AskRecord? {
        let query: Query =
            "SELECT " + AskRecord.columns + """
                 FROM task_asks a JOIN users u USING (user_id)
                WHERE a.task_id = \(task.rawValue) AND a.ask_id = \(id)
                """
        return try connection.query(query).first.map(AskRecord.init(row:))
    }

    /// Oldest first; the newest hundred.
    package static func list(_ task: TaskID, in connection: Connection) throws -> [AskRecord] {
        let query: Query =
            "SELECT " + AskRecord.columns + """
                 FROM task_asks a JOIN users u USING (user_id) WHERE a.task_id = \(task.rawValue)
                ORDER BY a.ask_id DESC LIMIT 100
                """
        return try connection.query(query).map(AskRecord.init(row:)).reversed()
    }

    /// The agent's answer, once; a repeat changes and tells nothing. Nil: there is no such question.
    package static func answer(
        _ id: String, of task: TaskRecord, _ text: String, turn: Int, in tx: Connection
    ) throws -> AskState? {
        try tx.query(TaskLog.lockHead(task.id))
        let answered = try tx.query(
            """
            UPDATE task_asks SET state = 'answered', answer = \(text), turn = \(Int32(turn)),
                answered_at = clock_timestamp()
            WHERE ask_id = \(id) AND task_id = \(task.id.rawValue) AND state IN ('open', 'expired')
            """
        ).affected
        guard answered == 1 else { return try find(id, of: task.id, in: tx)?.state }
        try InboxStore.settle(id, in: tx)
        try TaskLog.append(
            .statusResponse, to: task.id, attempt: task.attempt,
            ["ask_id": .string(id), "content": .string(text), "turn": JSONValue(turn)], in: tx)
        return .answered
    }

    /// The task ends: whoever waits hears that nobody will answer.
    static func close(_ task: TaskRecord, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE task_asks SET state = 'closed'
            WHERE task_id = \(task.id.rawValue) AND state IN ('open', 'expired')
            """)
    }
}
