import Lifecycle
import Telemetry
import Threads

/// The process's connections to the database: opened when needed, never more than `size`, dropped when broken.
///
/// While the server cannot be reached, callers fail at once with the last reason; one of them per pause (50 ms doubling
/// to 2 s) tries again, so a returning server is found without a storm. As a service it looks every second whether the
/// server answers, and closes the connections at the end; list it first, so that it ends last.
package final class Pool: Service {
    /// The flag it raises and lowers in `Readiness`.
    package static let flag = "postgres"

    /// How the pool stands, for metrics and tests.
    package struct Usage: Sendable, Equatable {
        /// Connections that exist, in use or not.
        package let open: Int
        /// Connections nobody uses.
        package let idle: Int

        package init(open: Int, idle: Int) {
            self.open = open
            self.idle = idle
        }
    }

    private struct State {
        var idle: [Connection] = []
        /// Connections in use, idle, or being opened.
        var count = 0
        var opening = 0
        var failures = 0
        var lastFailure: PostgresError?
        var nextTry = MonotonicTime.now
        var isClosed = false
        var exhausted: UInt64 = 0
    }

    private enum Turn {
        case use(Connection)
        case open
        case fail(PostgresError)
    }

    package let name = "postgres pool"
    /// Where it connects to.
    package let config: PostgresConfig
    /// The most connections it opens.
    package let size: Int
    private let patience: Duration
    private let backoff: Backoff
    private let readiness: Readiness?
    private let log: Logger
    private let threads: IOThreads
    private let state = Condition(State())

    /// A pool that opens nothing yet; it owns `size` threads for `run`.
    ///
    /// - Parameter patience: how long a caller waits for a free connection.
    /// - Parameter readiness: gets the flag `postgres`, down until the first connection stands.
    package init(
        _ config: PostgresConfig, size: Int = 8, patience: Duration = .seconds(1),
        backoff: Backoff = Backoff(initial: .milliseconds(50), cap: .seconds(2)), readiness: Readiness? = nil,
        log: Logger = .silent
    ) {
        self.config = config
        self.size = size
        self.patience = patience
        self.backoff = backoff
        self.readiness = readiness
        self.log = log
        readiness?.set(Self.flag, false)
        threads = IOThreads(name: "postgres", count: size)
    }

    /// How the pool stands.
    package var usage: Usage {
        state.withLock { Usage(open: $0.count - $0.opening, idle: $0.idle.count) }
    }

    /// How often somebody waited in vain for a free connection.
    package var exhausted: UInt64 {
        state.withLock { $0.exhausted }
    }

    /// True when the last attempt to connect, if there was any, succeeded.
    package var isHealthy: Bool {
        state.withLock { $0.failures == 0 && !$0.isClosed }
    }

    // MARK: On the caller's thread

    /// Lends a connection to `body`. Blocks, so never on Swift's cooperative pool: for handler threads.
    ///
    /// A transaction that `body` left open is rolled back and logged as the defect it is.
    /// - Throws: `poolExhausted` when none is free in time, `connectFailed` when the server cannot be reached.
    @discardableResult
    package func withConnection<Result>(_ body: (Connection) throws -> Result) throws -> Result {
        let connection = try take()
        defer { giveBack(connection) }
        return try body(connection)
    }

    /// Runs `body` in a transaction, again from its start when the server asks for it (serialization, deadlock, plan
    /// out of date) or the session broke before COMMIT: up to three times more. Blocks like `withConnection`.
    ///
    /// So `body` must do nothing that cannot be done twice. An unknown outcome of COMMIT is thrown, never repeated.
    @discardableResult
    package func withTransaction<Result>(
        _ mode: TransactionMode = .readCommitted, _ body: (Connection) throws -> Result
    ) throws -> Result {
        var attempt = 1
        while true {
            do {
                return try withConnection { try $0.transaction(mode, body) }
            } catch let error as PostgresError where attempt <= 3 && error.asksForAnotherRun {
                log.debug("transaction runs again", ["attempt": attempt, "reason": error.sqlState])
                attempt += 1
                // Two that collided must not meet again in step.
                Self.pause(.microseconds(Int.random(in: 0...2000) * attempt))
            }
        }
    }

    // MARK: On the pool's threads

    /// Lends a connection to `body` on one of the pool's threads. Cancelling the caller does not interrupt `body`.
    @discardableResult
    package func run<Result: Sendable>(
        _ body: @escaping @Sendable (Connection) throws -> Result
    ) async throws -> Result {
        try await threads.run { try self.withConnection(body) }
    }

    /// Has one of the pool's threads do a job that nobody waits for. False when they have ended.
    func submit(_ job: @escaping @Sendable () -> Void) -> Bool { threads.submit(job) }

    /// Like `withTransaction`, on one of the pool's threads.
    @discardableResult
    package func transaction<Result: Sendable>(
        _ mode: TransactionMode = .readCommitted, _ body: @escaping @Sendable (Connection) throws -> Result
    ) async throws -> Result {
        try await threads.run { try self.withTransaction(mode, body) }
    }

    /// Keeps the readiness flag true to the facts until the task is cancelled, then closes the pool.
    package func run() async throws {
        try await periodically(every: .seconds(1)) {
            // Failure is noted where connections are opened; a pool that is merely busy is no reason to be unready.
            _ = try? await run { try $0.query("SELECT 1") }
        }
        await close()
    }

    /// Closes what is idle at once and the rest when it comes back; waits for work on the pool's own threads.
    package func close() async {
        let idle = state.update { state in
            state.isClosed = true
            state.count -= state.idle.count
            defer { state.idle = [] }
            return state.idle
        }
        withExtendedLifetime(idle) {}
        await threads.stopped()
    }

    // MARK: Lending

    private func take() throws -> Connection {
        let deadline = Deadline.after(patience)
        while true {
            let turn = state.wait(timeout: deadline.remaining) { Self.turn(&$0, size: size) }
            switch turn {
            case .use(let connection):
                // A call of the kernel: under the lock it would make everybody queue for it.
                if connection.looksAlive() { return connection }
                log.debug("a connection was dropped", ["pid": connection.processID])
                state.withLock { $0.count -= 1 }
                state.signal()
            case .open: return try open()
            case .fail(let error): throw error
            case nil:
                state.withLock { $0.exhausted += 1 }
                throw PostgresError.poolExhausted
            }
        }
    }

    private static func turn(_ state: inout State, size: Int) -> Turn? {
        if state.isClosed { return .fail(PostgresError(.closed, "the pool is closed")) }
        // The one used last comes first: its statements are prepared and its memory is warm.
        if let connection = state.idle.popLast() { return .use(connection) }
        guard state.count < size else { return nil }
        if let failure = state.lastFailure, state.failures > 0 {
            // Someone else is trying, or it is not yet time.
            if state.opening > 0 || .now < state.nextTry { return .fail(failure) }
        }
        state.count += 1
        state.opening += 1
        return .open
    }

    private func open() throws -> Connection {
        do {
            let connection = try Connection(config)
            let wasFailing = state.update { state in
                state.opening -= 1
                defer { state.failures = 0 }
                return state.failures > 0
            }
            readiness?.set(Self.flag, true)
            if wasFailing { log.info("database reached again") }
            return connection
        } catch {
            let failure = error as? PostgresError ?? PostgresError(.connectFailed, "\(error)")
            let isFirst = state.update { state in
                state.opening -= 1
                state.count -= 1
                state.failures += 1
                state.lastFailure = failure
                state.nextTry = .now + backoff.delay(afterFailures: state.failures)
                return state.failures == 1
            }
            readiness?.set(Self.flag, false)
            if isFirst { log.warning("database not reached", ["error": failure]) }
            throw failure
        }
    }

    private func giveBack(_ connection: Connection) {
        if !connection.isBroken, connection.hasOpenTransaction {
            log.error("a transaction was left open and is rolled back", ["pid": connection.processID])
            connection.rollback()
        }
        let isUsable = !connection.isBroken && !connection.hasOpenTransaction
        state.withLock { state in
            if isUsable && !state.isClosed {
                state.idle.append(connection)
            } else {
                state.count -= 1
            }
        }
        state.signal()
    }

    private static func pause(_ duration: Duration) {
        // An empty condition is a sleep that needs no C call of its own.
        _ = Condition(()).wait(timeout: duration) { _ in nil as Void? }
    }
}

extension PostgresError {
    /// True when nothing was kept and a fresh transaction may well succeed.
    fileprivate var asksForAnotherRun: Bool {
        isSerializationConflict || isStalePlan || kind == .connectionLost
    }
}
