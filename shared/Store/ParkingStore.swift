import Domain
import Postgres

/// Tasks that are put aside until somebody answers: no agent, no slot, the work kept as their last checkpoint.
///
/// An answer and the parking may cross. Both hold the task's row, so whichever comes second finds what the first has
/// done: the answer wakes a parked task, and a task whose question is answered by then is woken as it is parked.
package enum ParkingStore {
    /// Parks a task whose agent has left, and wakes it at once when its question was answered meanwhile.
    ///
    /// - Parameters:
    ///   - task: as read; throws `conflict` when it was changed since.
    ///   - question: what it waits for. One that does not exist is never answered: the limit ends the wait.
    ///   - limitSeconds: after which the timer `parked` is due.
    package static func park(
        _ task: TaskRecord, onQuestion question: String?, limitSeconds: Double, in tx: Connection
    ) throws {
        try TaskStore.lock(unchanged: task, in: tx)
        let asked = try question.flatMap { try QuestionStore.find($0, of: task.id, in: tx) }
        var changes = TaskChanges()
        changes.wakeCondition = [
            "kind": "answer", "id": JSONValue(question),
            "detail": .string("an answer: \(String((asked?.question ?? "?").prefix(200)))"),
        ]
        var told: [String: JSONValue] = ["reason": "nobody answered in time"]
        if let asked { told["question_id"] = .string(asked.id) }
        let parked = try TaskStore.move(
            task, on: .parked, changes, event: .taskParked, metadata: .object(told), in: tx)
        // Only what this attempt asked: a result that names anything else waits like all others.
        if let asked, asked.attempt == task.attempt, asked.state == .answered, asked.isLate {
            try wake(parked, asked.id, in: tx)
        } else {
            try TimerStore.set(.parked, of: task.id, attempt: task.attempt, inSeconds: limitSeconds, in: tx)
        }
    }

    /// Brings what a person answered to a question whose agent does not wait any more: as a nudge, which the next
    /// request of the model carries, whichever attempt makes it. Wakes the task when it was parked on that question.
    ///
    /// - Parameter task: locked in this transaction.
    static func deliver(
        _ answer: String, to question: QuestionRecord, of task: TaskRecord, by user: UserID, named name: String,
        in tx: Connection
    ) throws {
        _ = try NudgeStore.add(
            fitting(answer, to: question.question), mode: .next, to: task, by: user, named: name, in: tx)
        let waiting = try tx.query(
            """
            SELECT 1 FROM tasks WHERE task_id = \(task.id.rawValue) AND status = 'PARKED'
                AND wake_condition ->> 'id' = \(question.id)
            """)
        if !waiting.isEmpty { try wake(task, question.id, in: tx) }
    }

    /// A person's doing costs the task none of its attempts.
    private static func wake(_ task: TaskRecord, _ question: String, in tx: Connection) throws {
        var changes = TaskChanges()
        changes.nextAttempt = true
        changes.moreAttempts = true
        try TimerStore.clear(.parked, of: task.id, in: tx)
        let queued = try TaskStore.move(
            task, on: .woken, changes, event: .taskResumed,
            metadata: ["reason": "its question was answered", "question_id": .string(question)], in: tx)
        try TaskLog.send(.slotFree, to: queued.id, attempt: queued.attempt, in: tx)
    }

    /// A nudge has 2 KB: the answer comes first, and the question is cut to what is left.
    private static func fitting(_ answer: String, to question: String) -> String {
        let frame = "You asked: \n\nThe answer: \(answer)"
        let room = max(2_048 - frame.utf8.count - 3, 0)
        var shown = ""
        var used = 0
        for character in question {
            used += String(character).utf8.count
            if used > room { break }
            shown.append(character)
        }
        let text = "You asked: \(shown)\(shown == question ? "" : "…")\n\nThe answer: \(answer)"
        return text.utf8.count <= 2_048 ? text : answer
    }
}
