import Lifecycle
import Threads

/// Group commit: the small writes of many callers as one transaction in one round trip.
///
/// What comes while one group is on its way is the next group. So an idle database answers at once, and a busy one does
/// more with each commit: most of what a small transaction costs is its trip, its commit and the beginning of its
/// statements, not its rows.
///
/// Each caller's item stays all or nothing by itself. When a statement fails, nothing of its group was kept, and each item
/// of it is done again alone: who is at fault hears of it, the others do not. A crash before the commit keeps nothing.
package final class GroupCommit<Item: Sendable, Answer: Sendable>: Sendable {
    /// What one caller wants done.
    private struct Request: Sendable {
        let item: Item
        let key: String
        let since = MonotonicTime.now
        let finish: @Sendable (Swift.Result<Answer, any Error>) -> Void
    }

    private struct State {
        var waiting: [Request] = []
        /// True while a thread does groups: one at a time, so that what comes meanwhile is one group.
        var isLed = false
    }

    private let pool: Pool
    private let limit: Int
    private let patience: Duration
    private let work: @Sendable ([Item], Connection) throws -> [Answer]
    private let state = Lock(State())

    /// Does nothing yet.
    ///
    /// - Parameters:
    ///   - limit: the most items in a group, which bounds what one failure does again.
    ///   - patience: what has waited longer for its group is refused, as a caller without a connection is: somebody who was
    ///     told to come again must not find it done twice.
    ///   - work: does all of the items or none, in one flight, and answers each in their order.
    package init(
        _ pool: Pool, limit: Int = 32, patience: Duration = .seconds(2),
        work: @escaping @Sendable ([Item], Connection) throws -> [Answer]
    ) {
        self.pool = pool
        self.limit = limit
        self.patience = patience
        self.work = work
    }

    /// How many wait for the next group.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    /// Has an item done together with those of others.
    ///
    /// - Parameter key: what the item locks, its task as a rule. Groups take their locks in the order of their keys, so
    ///   that those of two processes do not wait for each other.
    /// - Throws: the error of the item's own statement; `poolExhausted` when its turn did not come; `connectionLost` when
    ///   the session broke, so that it may have been done: look before you repeat it.
    package func run(_ item: Item, key: String) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            submit(Request(item: item, key: key) { continuation.resume(with: $0) })
        }
    }

    /// The same for those who wait for nothing themselves: `finish` hears of it on the group's thread, where it holds up
    /// the next group.
    package func submit(
        _ item: Item, key: String, finish: @escaping @Sendable (Swift.Result<Answer, any Error>) -> Void
    ) {
        submit(Request(item: item, key: key, finish: finish))
    }

    private static var closed: PostgresError { PostgresError(.closed, "the pool is closed") }

    private func submit(_ request: Request) {
        let leads = state.withLock { state in
            state.waiting.append(request)
            defer { state.isLed = true }
            return !state.isLed
        }
        if leads, !pool.submit({ self.lead() }) { close() }
    }

    /// Does groups until nobody waits.
    private func lead() {
        while let group = next() { run(group) }
    }

    private func next() -> [Request]? {
        let (late, group) = state.withLock { state -> ([Request], [Request]?) in
            let late = state.waiting.prefix { $0.since.elapsed > patience }
            state.waiting.removeFirst(late.count)
            guard !state.waiting.isEmpty else {
                state.isLed = false
                return (Array(late), nil)
            }
            let group = state.waiting.prefix(limit)
            state.waiting.removeFirst(group.count)
            return (Array(late), group.count == 1 ? Array(group) : group.sorted { $0.key < $1.key })
        }
        for request in late { request.finish(.failure(PostgresError.poolExhausted)) }
        return group
    }

    private func run(_ group: [Request]) {
        do {
            let answers = try pool.withConnection { try work(group.map(\.item), $0) }
            guard answers.count == group.count else { throw PostgresError(.misuse, "every item has an answer") }
            for (request, answer) in zip(group, answers) { request.finish(.success(answer)) }
        } catch let error as PostgresError where error.kind == .statement && group.count > 1 {
            for request in group {
                // One that waits for a lock, or takes too long, must not hold up the others twice.
                if !error.isWait || !pool.submit({ self.run([request]) }) { run([request]) }
            }
        } catch {
            for request in group { request.finish(.failure(error)) }
        }
    }

    /// The pool's threads have ended.
    private func close() {
        let left = state.withLock { state in
            defer { state = State() }
            return state.waiting
        }
        for request in left { request.finish(.failure(Self.closed)) }
    }
}

extension PostgresError {
    /// True when a statement waited for something too long.
    fileprivate var isWait: Bool { sqlState == "55P03" || sqlState == "57014" }
}

/// Group commit of statements: each caller brings a flight of them and gets their answers.
package typealias FlightGroup = GroupCommit<[Query], [Rows]>

extension GroupCommit where Item == [Query], Answer == [Rows] {
    /// One pipeline for all flights of a group.
    package convenience init(
        _ pool: Pool, limit: Int = 32, patience: Duration = .seconds(2)
    ) {
        self.init(pool, limit: limit, patience: patience) { flights, connection in
            var answers = try connection.pipeline(flights.flatMap { $0 })[...]
            return flights.map { flight in
                defer { answers = answers.dropFirst(flight.count) }
                return Array(answers.prefix(flight.count))
            }
        }
    }

    /// One statement.
    package func run(_ query: Query, key: String) async throws -> Rows {
        guard let rows = try await run([query], key: key).first else {
            throw PostgresError(.misuse, "a statement has an answer")
        }
        return rows
    }
}
