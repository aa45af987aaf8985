import Domain
import Postgres

/// Everything that a submit has to know, read in one flight.
package struct SubmitContext: Sendable {
    package let principal: Principal
    /// The repository, when it is onboarded.
    package let repo: RepoRecord?
    /// How the user stands to it.
    package let standing: RepoStanding
    /// Tasks of the user that wait for a slot, counted no further than asked; nil when none were.
    package let waiting: Int?
    /// The user's own number of tasks at work at once.
    package let userSlots: Int?
    /// A fresh id by the database's clock.
    package let taskID: TaskID
    /// What was submitted with the same key before.
    package let earlier: EarlierSubmit?
}

/// The task that an idempotency key stands for.
package struct EarlierSubmit: Sendable, Hashable {
    package let taskID: TaskID
    /// Of the body that it was submitted with.
    package let bodyHash: String
}

/// A key under which the same submit makes one task.
package struct IdempotencyKey: Sendable, Hashable {
    package let key: String
    package let bodyHash: String

    package init(key: String, bodyHash: String) {
        self.key = key
        self.bodyHash = bodyHash
    }
}

/// A task that is to be: limits and settings are frozen here.
package struct NewTask: Sendable {
    package var id: TaskID
    package var userID: UserID
    package var repo: RepoName
    package var issueNumber: Int?
    package var description: String?
    package var workflow: String
    package var channelSource = "api"
    package var branchName: String
    package var baseBranch: String?
    package var model: String
    package var maxTurns: Int
    package var maxBudget: Money?
    package var maxDurationSeconds: Int
    package var maxAttempts: Int
    package var settings: JSONValue
    package var notifications: JSONValue
    package var traceparent: String
    /// What its agent may do without asking, from the first call on.
    package var allowances: [String] = []
    /// The task whose work it does once more.
    package var retryOf: TaskID?

    package init(
        id: TaskID, userID: UserID, repo: RepoName, workflow: String, branchName: String, model: String, maxTurns: Int,
        maxDurationSeconds: Int, maxAttempts: Int, settings: JSONValue, notifications: JSONValue, traceparent: String
    ) {
        self.id = id
        self.userID = userID
        self.repo = repo
        self.workflow = workflow
        self.branchName = branchName
        self.model = model
        self.maxTurns = maxTurns
        self.maxDurationSeconds = maxDurationSeconds
        self.maxAttempts = maxAttempts
        self.settings = settings
        self.notifications = notifications
        self.traceparent = traceparent
    }
}

/// The submit: one read, one flight of writes.
package enum SubmitStore {
    /// The statement that reads all of it.
    ///
    /// - Parameters:
    ///   - key: the idempotency key, if there is one.
    ///   - countUpTo: how many waiting tasks matter; 0 = none are counted.
    package static func context(tokenHash: String, repo: RepoName, key: String?, countUpTo: Int) -> Query {
        """
        SELECT \(Principal.columns), u.max_concurrent AS user_slots, g.level AS grant_level,
            new_ulid(now_ms()) AS fresh_id, i.body_hash, i.task_id AS earlier_id, r.repo IS NOT NULL AS onboarded,
            (SELECT count(*) FROM (SELECT 1 FROM tasks w WHERE w.user_id = u.user_id
                AND w.status IN ('SUBMITTED', 'QUEUED') LIMIT \(countUpTo)) AS waiting) AS waiting,
            \(RepoRecord.columns)
        FROM api_tokens k JOIN users u USING (user_id)
        LEFT JOIN repos r ON r.repo = \(repo.rawValue) AND r.deleted_at IS NULL
        LEFT JOIN repo_grants g ON g.repo = r.repo AND g.user_id = u.user_id
        LEFT JOIN idempotency_keys i ON i.user_id = u.user_id AND i.key = \(key)
        WHERE k.token_hash = \(tokenHash) AND \(TokenStore.isAlive)
        """
    }

    /// What the statement answered; nil when the token opens nothing.
    ///
    /// - Parameter isCounted: whether waiting tasks were counted.
    package static func context(of rows: Rows, isCounted: Bool) throws -> SubmitContext? {
        guard let row = rows.first else { return nil }
        var earlier: EarlierSubmit?
        if let hash = try row.get("body_hash", as: String?.self) {
            earlier = EarlierSubmit(taskID: try row.ulid("earlier_id"), bodyHash: hash)
        }
        let repo = try row.get("onboarded", as: Bool.self) ? try RepoRecord(row: row) : nil
        let level = try row.get("grant_level", as: GrantLevel?.self)
        return SubmitContext(
            principal: try Principal(row: row), repo: repo,
            standing: repo.map { RepoStanding(access: $0.access, level: level) } ?? .unknown,
            waiting: isCounted ? try row.get("waiting", as: Int.self) : nil,
            userSlots: try row.get("user_slots", as: Int?.self),
            taskID: try row.ulid("fresh_id"), earlier: earlier)
    }

    /// A submit that is decided and not yet made.
    package struct Insert: Sendable {
        fileprivate let task: NewTask
        fileprivate let context: SubmitContext
        fileprivate let key: IdempotencyKey?

        package init(_ task: NewTask, _ context: SubmitContext, key: IdempotencyKey?) {
            self.task = task
            self.context = context
            self.key = key
        }

        /// What `submit_tasks` reads.
        fileprivate var document: JSONValue {
            var members: [String: JSONValue] = [
                "task_id": .string(task.id.rawValue), "user_id": .string(task.userID.rawValue),
                "repo": .string(task.repo.rawValue), "issue_number": JSONValue(task.issueNumber),
                "task_description": JSONValue(task.description), "workflow": .string(task.workflow),
                "channel_source": .string(task.channelSource), "branch_name": .string(task.branchName),
                "base_branch": JSONValue(task.baseBranch), "model": .string(task.model),
                "max_turns": JSONValue(task.maxTurns), "max_budget_usd": JSONValue(task.maxBudget?.description),
                "max_duration_s": JSONValue(task.maxDurationSeconds), "max_attempts": JSONValue(task.maxAttempts),
                "settings": task.settings, "notifications": task.notifications,
                "traceparent": .string(task.traceparent),
                "told": [
                    "repo": .string(task.repo.rawValue), "issue_number": JSONValue(task.issueNumber),
                    "channel_source": .string(task.channelSource), "workflow": .string(task.workflow),
                ],
            ]
            if let key {
                members["key"] = .string(key.key)
                members["body_hash"] = .string(key.bodyHash)
            }
            if let earlier = task.retryOf { members["retry_of"] = .string(earlier.rawValue) }
            if !task.allowances.isEmpty { members["allowances"] = .array(task.allowances.map { .string($0) }) }
            return .object(members)
        }
    }

    /// Law 1 for submits: key, task, head, first event and first command in one flight and one transaction, of all of them
    /// or of none.
    ///
    /// Throws the unique violation `idempotency_keys_pkey` when another submit with a key came first.
    ///
    /// - Parameter mostWaiting: the most tasks of a user that may wait; 0 = any number. Counted again here: those of a burst
    ///   were all read about before any of them was made.
    /// - Returns: nil for a task that was one too many.
    package static func insert(
        _ inserts: [Insert], mostWaiting: Int, in connection: Connection
    ) throws -> [TaskSnapshot?] {
        let document = JSONValue.array(inserts.map(\.document))
        let rows = try connection.query(
            """
            SELECT task_id, created_at FROM submit_tasks(\(document),
                \(TaskEventType.taskCreated.rawValue), \(TaskCommand.taskSubmitted.rawValue), \(Int32(mostWaiting)))
            """)
        let made = try rows.map { row in
            (try row.get("task_id", as: String.self), try row.get("created_at", as: Timestamp.self))
        }
        let times = Dictionary(made, uniquingKeysWith: { first, _ in first })
        return inserts.map { one in
            times[one.task.id.rawValue].map { at in
                TaskSnapshot(
                    submitted: one.task, waiting: one.context.waiting, userSlots: one.context.userSlots, createdAt: at)
            }
        }
    }

    /// What a user submitted under this key.
    package static func earlier(
        _ key: String, of user: UserID, in connection: Connection
    ) throws -> EarlierSubmit? {
        try connection.query(
            """
            SELECT body_hash, task_id FROM idempotency_keys WHERE user_id = \(user.rawValue) AND key = \(key)
            """
        ).first.map {
            EarlierSubmit(taskID: try $0.ulid("task_id"), bodyHash: try $0.get("body_hash", as: String.self))
        }
    }
}
