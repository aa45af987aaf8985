import Domain
import Postgres
import Store

/// What a handler says of a message; it never acks.
package enum Outcome: Sendable, Hashable {
    case done
    /// It failed and may pass later: counts as an attempt. Later messages of the task wait behind it.
    case retry(after: Duration, reason: String)
    /// It cannot be done yet: counts as no attempt. Later messages of the task wait behind it.
    case snooze(for: Duration, reason: String)
    /// It can never be done: a person looks at it, the lane goes on.
    case deadLetter(reason: String)
}

/// The work of one consumer.
///
/// Messages of one task come one at a time and in order; different tasks run concurrently. Whatever must happen exactly
/// once happens inside `step.commit`; calls to the outside before it may be repeated after a crash.
package protocol MessageHandler: Sendable {
    /// The name under which positions are kept; a second name would do everything again.
    var consumer: String { get }
    /// False lets the fast path skip a look at the position before `handle`: right when all of the work is in `commit`.
    var callsOutside: Bool { get }
    /// False: a message only says "look", so that done twice, late or out of turn it is the same. No position is kept,
    /// `step` is not used, and a message that is not `done` is put aside.
    var keepsPosition: Bool { get }
    func handle(_ message: Message, _ step: Step) async throws -> Outcome
}

extension MessageHandler {
    package var keepsPosition: Bool { true }
}

/// The one place where a message's effect and the consumer's position are committed together.
package final class Step: Sendable {
    /// Another process has taken this step: undo, and say nothing.
    package struct Taken: Error, Sendable {}

    private let pool: Pool
    private let consumer: String
    private let message: Message
    private let wasParked: Bool
    private let isReplay: Bool
    private let group: FlightGroup?
    private let committed = CommitFlag()

    /// - Parameter isReplay: the message lies behind the position and was asked for once more: its order is taken in the
    ///   place of the position.
    /// - Parameter group: with whose messages this one may be committed; nil = with none.
    init(
        pool: Pool, consumer: String, message: Message, wasParked: Bool = false, isReplay: Bool = false,
        group: FlightGroup? = nil
    ) {
        self.pool = pool
        self.consumer = consumer
        self.message = message
        self.wasParked = wasParked
        self.isReplay = isReplay
        self.group = group
    }

    /// Reads together with what other messages read and commit just now.
    package func read(_ query: Query) async throws -> Rows {
        guard let group else { return try await pool.run { try $0.query(query) } }
        return try await group.run(query, key: message.taskID.rawValue)
    }

    /// The same as `commit` for an effect whose statements are known beforehand. They share one transaction with those of
    /// other tasks' messages; what fails is done again by itself.
    package func commit(_ effect: [Query]) async throws {
        // One that was parked has its own rows to remove, and is never the first of a crowd.
        guard let group, !isReplay, !wasParked else {
            return try await commit { tx in for query in effect { try tx.enqueue(query) } }
        }
        let task = message.taskID.rawValue
        // First in its flight, so whoever finds the step taken has done nothing.
        let flight = [ConsumerStore.step(consumer, task: task, to: message.seq)] + effect
        do {
            _ = try await group.run(flight, key: task)
        } catch let error as PostgresError where ConsumerStore.isStepTaken(error) {
            throw Taken()
        }
        committed.set()
    }

    /// Runs `body` in the transaction that moves the position. At most once per message over all processes, for ever:
    /// a second commit throws `Taken` and leaves nothing behind.
    package func commit<Result: Sendable>(
        _ body: @escaping @Sendable (Connection) throws -> Result
    ) async throws -> Result {
        let consumer = self.consumer
        let message = self.message
        let wasParked = self.wasParked
        let isReplay = self.isReplay
        let result: Result
        do {
            result = try await pool.transaction { tx in
                let task = message.taskID.rawValue
                if !isReplay {
                    // First in the transaction, so whoever finds the step taken has done nothing.
                    try ConsumerStore.enqueueAdvance(consumer, task: task, to: message.seq, in: tx)
                } else if try !ConsumerStore.takeReplay(consumer, task: task, seq: message.seq, in: tx) {
                    throw Taken()
                }
                let result = try body(tx)
                if wasParked { try ConsumerStore.unpark(consumer, task: task, through: message.seq, in: tx) }
                return result
            }
        } catch let error as PostgresError where ConsumerStore.isStepTaken(error) {
            throw Taken()
        }
        committed.set()
        return result
    }

    /// True when the handler committed by itself.
    var isCommitted: Bool { committed.isSet }
}
