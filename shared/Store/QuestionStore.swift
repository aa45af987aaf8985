import Domain
import Postgres

/// How a question of the agent stands.
package enum QuestionState: String, Sendable, CaseIterable, Codable {
    case open
    case answered
    /// Nobody answered in time. It means nothing but that: never yes.
    case expired
    /// Its attempt is over.
    case void
}

/// What a running agent asks people.
package struct QuestionRecord: Sendable {
    package let id: String
    package let taskID: TaskID
    package let repo: String
    package let attempt: Int
    package let question: String
    package let options: JSONValue
    package let state: QuestionState
    package let answer: String?
    package let answeredBy: String?
    package let askedAt: Timestamp
    package let expiresAt: Timestamp
    package let remainingSeconds: Double
    /// The answer came after the agent had stopped waiting.
    package let isLate: Bool

    fileprivate static let columns: Query = """
        q.question_id, q.task_id, t.repo, q.attempt::bigint, q.question, q.options::text, q.state, q.answer,
        u.name AS answered_by, q.asked_at, q.expires_at,
        greatest(0, extract(epoch FROM q.expires_at - clock_timestamp()))::float8 AS remaining_s,
        q.is_late
        """
    fileprivate static let tables: Query = """
         FROM task_questions q JOIN tasks t USING (task_id) LEFT JOIN users u ON u.user_id = q.answered_by
        """

    fileprivate init(row: Row) throws {
        id = try row.get("question_id", as: String.self)
        taskID = try row.ulid("task_id")
        repo = try row.get("repo", as: String.self)
        attempt = Int(try row.get("attempt", as: Int64.self))
        question = try row.get("question", as: String.self)
        options = try row.json("options")
        state = try row.known("state")
        answer = try row.get("answer", as: String?.self)
        answeredBy = try row.get("answered_by", as: String?.self)
        askedAt = try row.get("asked_at", as: Timestamp.self)
        expiresAt = try row.get("expires_at", as: Timestamp.self)
        remainingSeconds = try row.get("remaining_s", as: Double.self)
        isLate = try row.get("is_late", as: Bool.self)
    }
}

/// Questions of agents. Postgres is the only arbiter between an answer and the deadline: the first to change the row.
package enum QuestionStore {
    /// Asks once, however often the call is repeated.
    ///
    /// - Parameter task: the present attempt's, read in this transaction.
    package static func ask(
        _ question: String, options: [String], clientID: String, seconds: Int, of task: TaskRecord, in tx: Connection
    ) throws -> QuestionRecord {
        try tx.query(TaskLog.lockHead(task.id))
        let choices = JSONValue.array(options.map { .string($0) })
        let made = try tx.query(
            """
            INSERT INTO task_questions (task_id, attempt, client_id, question, options, expires_at)
            VALUES (\(task.id.rawValue), \(Int32(task.attempt)), \(clientID), \(question), \(choices.text)::jsonb,
                clock_timestamp() + make_interval(secs => \(Double(seconds))))
            ON CONFLICT (task_id, attempt, client_id) DO NOTHING RETURNING question_id
            """)
        let query: Query =
            "SELECT " + QuestionRecord.columns + QuestionRecord.tables + """
                 WHERE q.task_id = \(task.id.rawValue) AND q.attempt = \(Int32(task.attempt))
                    AND q.client_id = \(clientID)
                """
        let record = try QuestionRecord(row: try tx.query(query).only())
        if !made.isEmpty {
            try TaskLog.append(
                .questionAsked, to: task.id, attempt: task.attempt,
                [
                    "question_id": .string(record.id), "question": .string(question), "options": choices,
                    "expires_at": .string(record.expiresAt.iso8601),
                ], in: tx)
        }
        return record
    }

    package static func find(_ id: String, of task: TaskID, in connection: Connection) throws -> QuestionRecord? {
        let query: Query =
            "SELECT " + QuestionRecord.columns + QuestionRecord.tables + """
                 WHERE q.task_id = \(task.rawValue) AND q.question_id = \(id)
                """
        return try connection.query(query).first.map(QuestionRecord.init(row:))
    }

    /// Open ones, the most urgent first; then those that nobody answered in time and that somebody still may: their task
    /// waits for it, or is about to.
    ///
    /// - Parameters:
    ///   - viewer: whose tasks and grants count; nil = everybody's.
    ///   - task: only this one's.
    package static func open(
        for viewer: UserID?, of task: TaskID? = nil, in connection: Connection
    ) throws -> [QuestionRecord] {
        let seen: Query = """
            (\(task?.rawValue)::text IS NULL OR q.task_id = \(task?.rawValue)) AND \(GrantStore.isSeen(by: viewer))
            """
        let open: Query =
            "SELECT " + QuestionRecord.columns + QuestionRecord.tables + """
                 WHERE q.state = 'open' AND (q.expires_at > clock_timestamp() OR \(parks)) AND \(seen)
                ORDER BY q.expires_at, q.question_id LIMIT 100
                """
        let waiting: Query =
            "SELECT " + QuestionRecord.columns + QuestionRecord.tables + """
                 WHERE t.status IN ('RUNNING', 'AWAITING_APPROVAL', 'PARKED') AND \(parks)
                    AND q.state = 'expired' AND q.attempt = t.attempt
                    AND (t.status <> 'PARKED' OR t.wake_condition ->> 'id' = q.question_id) AND \(seen)
                ORDER BY q.question_id LIMIT 100
                """
        return try (connection.query(open).map { $0 } + connection.query(waiting).map { $0 })
            .map(QuestionRecord.init(row:))
    }

    /// Whether a task waits for an answer however long it takes; of the table alias `t`.
    private static var parks: Query { "t.settings ->> 'unanswered_question' = 'park'" }

    /// The first answer counts. Where the repository parks tasks, one that comes after the deadline counts as well: it
    /// reaches the agent as a nudge, and wakes the task if it was parked. False: it was answered, expired or void before.
    package static func answer(
        _ question: QuestionRecord, _ text: String, of task: TaskRecord, by user: UserID, named name: String,
        in tx: Connection
    ) throws -> Bool {
        try tx.query(TaskLog.lockHead(task.id))
        let answered = try tx.query(
            """
            UPDATE task_questions SET state = 'answered', answer = \(text), answered_by = \(user.rawValue),
                closed_at = clock_timestamp()
            WHERE question_id = \(question.id) AND state = 'open'
                AND (expires_at > clock_timestamp() OR \(waitsForEver(task)))
            """)
        let isInTime = answered.affected == 1
        if isInTime {
            try InboxStore.put(
                "answer", for: task.id, attempt: question.attempt,
                [
                    "question_id": .string(question.id), "state": "answered", "text": .string(text),
                    "from": .string(name),
                ], in: tx)
        } else {
            guard try answerLate(question, text, of: task, by: user, in: tx) else { return false }
        }
        try TaskLog.append(
            .questionAnswered, to: task.id, attempt: task.attempt,
            ["question_id": .string(question.id), "state": "answered", "answered_by": .string(name)], in: tx)
        if !isInTime {
            try ParkingStore.deliver(text, to: question, of: task, by: user, named: name, in: tx)
        }
        return true
    }

    private static func waitsForEver(_ task: TaskRecord) -> Bool {
        task.settings["unanswered_question"]?.string == UnansweredQuestion.park.rawValue
    }

    private static func answerLate(
        _ question: QuestionRecord, _ text: String, of task: TaskRecord, by user: UserID, in tx: Connection
    ) throws -> Bool {
        // At the end of a task no agent comes any more that could hear it.
        guard waitsForEver(task), task.status != .finalizing else { return false }
        return try tx.query(
            """
            UPDATE task_questions SET state = 'answered', answer = \(text), answered_by = \(user.rawValue), is_late = true
            WHERE question_id = \(question.id) AND state = 'expired'
            """
        ).affected == 1
    }

    /// The agent has waited long enough. What then stands is what counts, a late answer included.
    package static func expire(_ id: String, of task: TaskRecord, in tx: Connection) throws -> QuestionRecord? {
        try tx.query(TaskLog.lockHead(task.id))
        let expired = try tx.query(
            """
            UPDATE task_questions SET state = 'expired', closed_at = clock_timestamp()
            WHERE question_id = \(id) AND task_id = \(task.id.rawValue) AND state = 'open'
            """
        ).affected
        if expired == 1 {
            try TaskLog.append(
                .questionAnswered, to: task.id, attempt: task.attempt,
                ["question_id": .string(id), "state": "expired"], in: tx)
        }
        return try find(id, of: task.id, in: tx)
    }

    /// An attempt is over, and with it what it wanted to know.
    package static func void(_ task: TaskID, in tx: Connection) throws {
        try tx.query(
            """
            UPDATE task_questions SET state = 'void', closed_at = clock_timestamp()
            WHERE task_id = \(task.rawValue) AND state = 'open'
            """)
    }
}
