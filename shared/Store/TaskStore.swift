import Domain
import Postgres

/// What changes together with a move. Nil leaves a column as it is.
package struct TaskChanges: Sendable {
    package var outcome: String?
    package var pullRequestURL: String?
    package var pullRequestNumber: Int?
    package var headSHA: String?
    package var answerText: String?
    package var baseBranch: String?
    package var error: TaskFailure?
    package var wakeCondition: JSONValue?
    package var nextAttempt = false
    /// The next attempt is none of those that the task may lose.
    package var moreAttempts = false

    package init() {}

    package static func failure(_ failure: TaskFailure) -> TaskChanges {
        var changes = TaskChanges()
        changes.error = failure
        return changes
    }
}

/// Reading a task and moving it. Every move of every service goes through `move`.
package enum TaskStore {
    package static func load(_ id: TaskID, in connection: Connection) throws -> TaskRecord? {
        try connection.query("SELECT " + TaskRecord.columns + " FROM tasks t WHERE t.task_id = \(id.rawValue)").first
            .map(TaskRecord.init(row:))
    }

    /// Reads and locks the row: first in the lock order after the admission lock. Not against rows that only refer to
    /// it, which come later in that order.
    package static func lock(_ id: TaskID, in tx: Connection) throws -> TaskRecord? {
        let query: Query =
            "SELECT " + TaskRecord.columns + " FROM tasks t WHERE t.task_id = \(id.rawValue) FOR NO KEY UPDATE OF t"
        return try tx.query(query).first.map(TaskRecord.init(row:))
    }

    /// Locks the row before anything else of the task is touched. Throws `conflict` when it was changed since it was read.
    package static func lock(unchanged task: TaskRecord, in tx: Connection) throws {
        guard try lock(task.id, in: tx)?.version == task.version else { throw StoreError.conflict }
    }

    /// Makes one move with everything that belongs to it: the state by compare-and-set on `version`, the final event,
    /// the end of the session and the word to admission that a slot is free.
    ///
    /// `finalEvent` is told when the move ends the task; its type follows from the state unless one is given.
    /// Throws `forbidden` when the move is none, `conflict` when the task was changed since it was read.
    @discardableResult
    package static func move(
        _ task: TaskRecord, on trigger: TaskTrigger, _ changes: TaskChanges = TaskChanges(),
        event: TaskEventType? = nil, metadata: JSONValue = [:], in tx: Connection
    ) throws -> TaskRecord {
        guard let transition = TaskTransition(from: task.status, on: trigger) else {
            throw StoreError.forbidden(from: task.status, trigger: trigger)
        }
        let failure = try changes.error.map { try JSONText.encode($0) }
        let updated = try tx.query(
            """
            UPDATE tasks SET status = \(transition.to.rawValue),
                outcome = coalesce(\(changes.outcome), outcome), pr_url = coalesce(\(changes.pullRequestURL), pr_url),
                pr_number = coalesce(\(changes.pullRequestNumber.map(Int64.init))::int, pr_number),
                head_sha = coalesce(\(changes.headSHA), head_sha),
                answer_text = coalesce(\(changes.answerText), answer_text),
                base_branch = coalesce(\(changes.baseBranch), base_branch),
                error = coalesce(\(failure)::jsonb, error),
                wake_condition = coalesce(\(changes.wakeCondition?.text)::jsonb, wake_condition),
                attempt = attempt + \(Int32(changes.nextAttempt ? 1 : 0)),
                max_attempts = max_attempts + \(Int32(changes.moreAttempts ? 1 : 0))
            WHERE task_id = \(task.id.rawValue) AND version = \(task.version)
            """)
        guard updated.affected == 1 else { throw StoreError.conflict }
        // Before the final event: nothing is told of a task after it.
        if transition.actions.contains(.endSession) || transition.to.isFinal {
            try closeConversation(task, isOver: transition.to.isFinal, in: tx)
        }
        if let type = event ?? finalEvent(of: transition.to) {
            var told = metadata.object ?? [:]
            if transition.to.isFinal {
                for (key, value) in ending(task, transition.to, changes) where told[key] == nil { told[key] = value }
            }
            try TaskLog.append(type, to: task.id, attempt: task.attempt, .object(told), in: tx)
        }
        if transition.actions.contains(.endSession) && !transition.to.isFinal {
            try tx.query(
                """
                UPDATE sessions SET state = 'void', harness_token_hash = NULL, git_token_hash = NULL,
                    model_token_hash = NULL
                WHERE task_id = \(task.id.rawValue) AND state IN ('requested', 'claimed', 'running')
                """)
        }
        if transition.actions.contains(.releaseSlot) {
            try TaskLog.send(.slotFree, to: task.id, attempt: task.attempt, in: tx)
        }
        guard let moved = try load(task.id, in: tx) else { throw StoreError.noRow("tasks") }
        return moved
    }

    /// Puts the work back in the queue for its next attempt, or fails the task when none is left.
    ///
    /// The one place that decides it: orchestrator, compute adapter and reconciler all come here. Throws `conflict` when
    /// the task was changed since it was read.
    ///
    /// - Parameter isSwept: the reconciler found it: the end is then told as `task_stranded`.
    @discardableResult
    package static func loseAttempt(
        _ task: TaskRecord, _ failure: TaskFailure, isSwept: Bool = false, in tx: Connection
    ) throws -> TaskRecord {
        try lock(unchanged: task, in: tx)
        let left = task.attempt < task.maxAttempts && !task.cancelRequested
        try TaskLog.append(
            .attemptLost, to: task.id, attempt: task.attempt,
            [
                "attempt": JSONValue(task.attempt), "reason": .string(failure.description),
                "attempts_left": JSONValue(left),
            ],
            in: tx)
        if task.cancelRequested {
            return try move(task, on: .cancelled, in: tx)
        }
        if left {
            var changes = TaskChanges()
            changes.nextAttempt = true
            return try move(task, on: .attemptLost, changes, in: tx)
        }
        return try move(
            task, on: .failed, .failure(failure), event: isSwept ? .taskStranded : .taskFailed,
            metadata: ["code": .string(failure.code), "prior_status": .string(task.status.rawValue)], in: tx)
    }

    /// Counts one more try of the present state's work and wakes the orchestrator for the next one. False: none is left.
    package static func retryStep(
        _ task: TaskRecord, policy: RetryPolicy, in tx: Connection
    ) throws -> Bool {
        guard let wait = policy.delay(afterAttempt: task.stepAttempts + 1) else { return false }
        let updated = try tx.query(
            """
            UPDATE tasks SET step_attempts = step_attempts + 1
            WHERE task_id = \(task.id.rawValue) AND version = \(task.version)
            """)
        guard updated.affected == 1 else { throw StoreError.conflict }
        let seconds = Double(wait.components.seconds) + Double(wait.components.attoseconds) / 1e18
        try TimerStore.set(.retry, of: task.id, attempt: task.attempt, inSeconds: seconds, in: tx)
        return true
    }

    /// What waits for an agent or for a person ends with the attempt, and with the task all of it.
    private static func closeConversation(_ task: TaskRecord, isOver: Bool, in tx: Connection) throws {
        try QuestionStore.void(task.id, in: tx)
        try ApprovalStore.void(task.id, in: tx)
        guard isOver else { return }
        try NudgeStore.expire(task, in: tx)
        try AskStore.close(task, in: tx)
    }

    private static func finalEvent(of status: TaskStatus) -> TaskEventType? {
        switch status {
        case .completed: .taskCompleted
        case .failed: .taskFailed
        case .cancelled: .taskCancelled
        case .timedOut: .taskTimedOut
        default: nil
        }
    }

    private static func ending(_ task: TaskRecord, _ status: TaskStatus, _ changes: TaskChanges) -> [String: JSONValue]
    {
        var told: [String: JSONValue] = ["status": .string(status.rawValue)]
        if let outcome = changes.outcome ?? task.outcome { told["outcome"] = .string(outcome) }
        if let url = changes.pullRequestURL ?? task.pullRequestURL { told["pr_url"] = .string(url) }
        if let sha = changes.headSHA ?? task.headSHA { told["head_sha"] = .string(sha) }
        if let failure = changes.error {
            told["error"] = [
                "code": .string(failure.code), "category": .string(failure.category.rawValue),
                "title": .string(failure.title), "description": .string(failure.description),
                "remedy": .string(failure.remedy), "retryable": JSONValue(failure.retryable),
            ]
        }
        return told
    }
}
