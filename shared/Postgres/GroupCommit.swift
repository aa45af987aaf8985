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
        let finish: @Sendable (Swift.Result<Answer, any Error>) -> Void
    }

    private struct State {
        var waiting: [Request] = []
        var leaders = 0
    }

    private let pool: Pool
    private let width: Int
    private let limit: Int
    private let work: @Sendable ([Item], Connection) throws -> [Answer]
    private let state = Lock(State())

    /// Does nothing yet.
    ///
    /// - Parameters:
    ///   - width: groups under way at once, each on a connection and a thread of the pool.
    ///   - limit: the most items in a group, which bounds what one failure does again.
    ///   - work: does all of the items or none, in one flight, and answers each in their order.
    package init(
        _ pool: Pool, width: Int = 1, limit: Int = 32,
        work: @escaping @Sendable ([Item], Connection) throws -> [Answer]
    ) {
        self.pool = pool
        self.width = width
        self.limit = limit
        self.work = work
    }

    /// How many wait for the next group.
    package var waiting: Int { state.withLock { $0.waiting.count } }

    /// Has an item done together with those of others.
    ///
    /// - Parameter key: what the item locks, its task as a rule. Groups take their locks in the order of their keys, so
    ///   that two of them do not wait for each other.
    /// - Throws: the error of the item's own statement; `connectionLost` when the session broke, so that it may have been
    ///   done: look before you repeat it.
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
            guard state.leaders < width else { return false }
            state.leaders += 1
            return true
        }
        if leads, !pool.submit({ self.lead() }) { close() }
    }

    /// Does groups until nobody waits.
    private func lead() {
        while let group = next() { run(group) }
    }

    private func next() -> [Request]? {
        state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.leaders -= 1
                return nil
            }
            let group = state.waiting.prefix(limit)
            state.waiting.removeFirst(group.count)
            return group.count == 1 ? Array(group) : group.sorted { $0.key < $1.key }
        }
    }

    private func run(_ group: [Request]) {
        do {
            let answers = try pool.withConnection { try work(group.map(\.item), $0) }
            guard answers.count == group.count else { throw PostgresError(.misuse, "every item has an answer") }
            for (request, answer) in zip(group, answers) { request.finish(.success(answer)) }
        } catch let error as PostgresError where error.kind == .statement && group.count > 1 {
            for request in group { run([request]) }
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

/// Group commit of statements: each caller brings a flight of them and gets their answers.
package typealias FlightGroup = GroupCommit<[Query], [Rows]>

extension GroupCommit where Item == [Query], Answer == [Rows] {
    /// One pipeline for all flights of a group.
    package convenience init(_ pool: Pool, width: Int = 1, limit: Int = 32) {
        self.init(pool, width: width, limit: limit) { flights, connection in
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
