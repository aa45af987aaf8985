import CPostgres

/// One session with the database. Plain blocking calls, confined to the thread that holds it.
///
/// Every call is one round trip: statements are prepared on first use, and preparing travels in the same flight. A
/// connection that broke stays broken (`isBroken`); the pool replaces it. Dropping it closes the session, and the
/// server rolls back what was open.
package final class Connection {
    private let handle: ConnectionHandle
    private var cache = StatementCache()
    /// Statements that wait for the next flight: BEGIN, and what was enqueued.
    private var pending: [Query] = []
    private var isInTransaction = false

    /// Opens a session; blocks for at most the connect timeout per host.
    ///
    /// - Throws: `PostgresError` of kind `connectFailed`.
    package init(_ config: PostgresConfig) throws {
        handle = try ConnectionHandle(config)
    }

    /// True once the session is gone; every call then throws `connectionLost`.
    package var isBroken: Bool { handle.isBroken }

    /// True while a transaction is open, or was left open by a bare `BEGIN`.
    package var hasOpenTransaction: Bool { isInTransaction || !handle.isIdle }

    /// The server process of this session, for `pg_terminate_backend`; a proxy may have made it up.
    package var processID: Int32 { handle.processID }

    /// How many statements are prepared.
    var preparedCount: Int { cache.count }

    /// The descriptor a listener waits on.
    var socket: Int32 { handle.socket }

    /// Looks, without waiting, whether the server has closed the session meanwhile.
    func looksAlive() -> Bool { handle.looksAlive() }

    /// Notifications that have arrived; nil when the session is gone.
    func takeNotifications() -> [(channel: String, payload: String)]? { handle.consumeNotifications() }

    // MARK: Statements

    /// Runs one statement. Outside `transaction` it commits by itself.
    @discardableResult
    package func query(_ query: Query) throws -> Rows {
        guard let rows = try pipeline([query]).first else { throw handle.lost() }
        return rows
    }

    /// Runs many statements in one round trip. Outside `transaction` they are one transaction of their own.
    ///
    /// The first error skips the statements after it and is thrown; outside a transaction nothing is kept then, inside
    /// one the transaction can only be rolled back. The connection stays usable.
    @discardableResult
    package func pipeline(_ queries: [Query]) throws -> [Rows] {
        guard !queries.isEmpty else { return [] }
        try check(queries)
        return Array(try fly(takePending() + queries).suffix(queries.count))
    }

    /// Sends a statement along with the next one, or with COMMIT, when its result does not matter: inside
    /// `transaction` only. Its error is thrown by the call that carries it.
    package func enqueue(_ query: Query) throws {
        guard isInTransaction else { throw PostgresError(.misuse, "enqueue needs a transaction") }
        try check([query])
        pending.append(query)
    }

    /// Runs a script of many statements without parameters: migrations. It is one transaction unless it says else.
    package func execute(script: String) throws {
        guard !script.utf8.contains(0) else { throw Self.zeroByte }
        try check([])
        if !pending.isEmpty { _ = try fly(takePending()) }
        try run(script: script)
    }

    private func run(script: String) throws {
        try handle.sendScript(script)
        var failure: PostgresError?
        while let result = try handle.nextResult() {
            switch PQresultStatus(result.raw) {
            case PGRES_FATAL_ERROR: failure = failure ?? PostgresError(.statement, result: result.raw)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: throw unsupportedCopy()
            default: break
            }
        }
        if handle.isBroken { throw lost(failure) }
        try handle.leaveScript()
        if let failure { throw failure }
    }

    // MARK: Transactions

    /// Runs `body` in a transaction: COMMIT when it returns, ROLLBACK when it throws, and its error is thrown on.
    ///
    /// BEGIN travels with the first statement; a body without statements costs nothing. A crash before COMMIT keeps
    /// nothing.
    /// - Throws: `commitFailed` when the server refused COMMIT, `outcomeUnknown` when the connection broke after
    ///   COMMIT was sent, `transactionAborted` when `body` swallowed the error of a statement, `misuse` when nested.
    @discardableResult
    package func transaction<Result>(
        _ mode: TransactionMode = .readCommitted, _ body: (Connection) throws -> Result
    ) throws -> Result {
        try throwIfBroken()
        guard !hasOpenTransaction else { throw PostgresError(.misuse, "transactions cannot be nested") }
        isInTransaction = true
        pending = [mode.begin]
        let result: Result
        do {
            result = try body(self)
        } catch {
            rollback()
            throw error
        }
        do {
            try commit()
        } catch {
            rollback()
            throw error
        }
        isInTransaction = false
        return result
    }

    /// Ends whatever transaction is open without keeping it. What cannot be rolled back is a broken connection.
    func rollback() {
        isInTransaction = false
        pending = []
        guard !handle.isBroken, !handle.isIdle else { return }
        _ = try? fly(["ROLLBACK"])
    }

    private func commit() throws {
        if handle.isIdle {
            // BEGIN was never sent: nothing to commit. Without a waiting BEGIN, `body` ended the transaction by itself.
            if pending.count == 1 { return pending = [] }
            guard !pending.isEmpty else { throw Self.ended }
        }
        guard handle.transactionStatus != PQTRANS_INERROR else {
            throw PostgresError(.transactionAborted, "a statement failed and its error was ignored")
        }
        // A session that ended while `body` worked is known here to have kept nothing; after COMMIT it is not.
        guard handle.looksAlive() else { throw handle.lost() }
        let flight = takePending() + ["COMMIT"]
        do {
            guard try fly(flight).last?.tag == "COMMIT" else {
                throw PostgresError(.transactionAborted, "the server rolled the transaction back")
            }
        } catch var error as PostgresError {
            if error.isConnectionLost { error.kind = .outcomeUnknown }
            // The transaction is over only when COMMIT itself was answered; otherwise an enqueued statement failed.
            if error.kind == .statement && handle.isIdle { error.kind = .commitFailed }
            throw error
        }
    }

    // MARK: Flights

    private func takePending() -> [Query] {
        defer { pending = [] }
        return pending
    }

    /// Refuses what must not be sent, before a waiting BEGIN is taken: nothing may slip out of its transaction.
    private func check(_ queries: [Query]) throws {
        try throwIfBroken()
        guard !isInTransaction || !pending.isEmpty || !handle.isIdle else { throw Self.ended }
        guard !queries.contains(where: \.hasZeroByte) else { throw Self.zeroByte }
        guard queries.allSatisfy({ $0.values.count <= 65_535 }) else {
            throw PostgresError(.misuse, "a statement takes at most 65535 values")
        }
    }

    private static let ended = PostgresError(.misuse, "the transaction was ended inside its body")
    private static let zeroByte = PostgresError(.statement, "a text cannot hold a zero byte", sqlState: "22021")

    /// Sends the statements and reads all results. A statement prepared before its tables changed is prepared again,
    /// as long as nothing of an earlier flight's transaction would be lost.
    private func fly(_ queries: [Query]) throws -> [Rows] {
        let wasIdle = handle.isIdle
        if wasIdle { try deallocate() }
        do {
            return try attempt(queries)
        } catch let error as PostgresError where error.isStalePlan && !handle.isBroken {
            cache.retireAll()
            guard wasIdle else { throw error }
            if !handle.isIdle { _ = try attempt(["ROLLBACK"]) }
            try deallocate()
            return try attempt(queries)
        }
    }

    private func deallocate() throws {
        let names = cache.takeRetired()
        guard !names.isEmpty else { return }
        // Names the server has already forgotten are no reason to fail the caller's statement.
        do {
            try run(script: names.map { "DEALLOCATE \($0);" }.joined())
        } catch let error as PostgresError where !error.isConnectionLost {}
    }

    /// What a result in the stream belongs to.
    private enum Step {
        case prepare(StatementCache.Key, name: String)
        case execute
    }

    private func attempt(_ queries: [Query]) throws -> [Rows] {
        var steps: [Step] = []
        steps.reserveCapacity(queries.count)
        var inFlight: [StatementCache.Key: String] = [:]
        for query in queries {
            let key = StatementCache.Key(query)
            let name: String
            if let known = cache.name(for: key) ?? inFlight[key] {
                name = known
            } else {
                name = cache.makeName()
                inFlight[key] = name
                try handle.sendPrepare(name, query)
                steps.append(.prepare(key, name: name))
            }
            try handle.sendExecute(name, query)
            steps.append(.execute)
        }
        try handle.sendSync()
        return try receive(steps)
    }

    private func receive(_ steps: [Step]) throws -> [Rows] {
        var rows: [Rows] = []
        rows.reserveCapacity(steps.count)
        var failure: PostgresError?
        var step = 0
        while true {
            guard let result = try handle.nextResult() else {
                if handle.isBroken { throw lost(failure) }
                step += 1
                guard step <= steps.count else { throw handle.lost() }
                continue
            }
            switch PQresultStatus(result.raw) {
            case PGRES_PIPELINE_SYNC:
                if let failure { throw failure }
                return rows
            case PGRES_PIPELINE_ABORTED: break
            case PGRES_FATAL_ERROR: failure = failure ?? PostgresError(.statement, result: result.raw)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH: throw unsupportedCopy()
            default:
                guard step < steps.count else { throw handle.lost() }
                switch steps[step] {
                case .prepare(let key, let name): cache.insert(name, for: key)
                case .execute: rows.append(Rows(result))
                }
            }
        }
    }

    private func throwIfBroken() throws {
        if handle.isBroken { throw handle.lost() }
    }

    /// The server's last words, if it said any, as the reason why the connection is gone.
    private func lost(_ lastWords: PostgresError?) -> PostgresError {
        guard var error = lastWords else { return handle.lost() }
        error.kind = .connectionLost
        error.isConnectionLost = true
        return error
    }

    private func unsupportedCopy() -> PostgresError {
        _ = handle.lost()
        return PostgresError(.misuse, "COPY is not supported; use unnest")
    }
}
