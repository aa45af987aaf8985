import Lifecycle
import Postgres
import TestSupport

/// The config for the current test's database.
func scratchConfig(
    lockTimeout: Duration = .seconds(2), statementTimeout: Duration = .seconds(5),
    idleInTransactionTimeout: Duration = .seconds(10)
) throws -> PostgresConfig {
    try PostgresConfig(
        url: try ScratchDatabase.url(), applicationName: "tests", lockTimeout: lockTimeout,
        statementTimeout: statementTimeout, idleInTransactionTimeout: idleInTransactionTimeout)
}

/// A session in the current test's database.
func connect() throws -> Connection {
    try Connection(try scratchConfig())
}

/// Ends another session and waits until its process is gone.
func terminate(_ processID: Int32) throws {
    let gone: Bool = try connect().query("SELECT pg_terminate_backend(\(processID), 5000)").only().get(0)
    guard gone else { throw StillThere() }
}

/// Ends every session in the current test's database but the one that asks.
func terminateAll() throws {
    try connect().query(
        """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
}

struct StillThere: Error {}

/// The error that `body` throws; fails when it throws none or another kind.
func postgresError<Result>(_ body: () throws -> Result) throws -> PostgresError {
    do {
        _ = try body()
    } catch let error as PostgresError {
        return error
    }
    throw NothingThrown()
}

/// The same for work that suspends.
func postgresError<Result>(_ body: () async throws -> Result) async throws -> PostgresError {
    do {
        _ = try await body()
    } catch let error as PostgresError {
        return error
    }
    throw NothingThrown()
}

struct NothingThrown: Error {}

/// Asks again until the answer is yes, for at most ten seconds; each question goes to the server, so it takes its time.
func eventually(_ isTrue: () async throws -> Bool) async throws -> Bool {
    let deadline = Deadline.after(.seconds(10))
    repeat {
        if try await isTrue() { return true }
        await Task.yield()
    } while !deadline.isOver
    return false
}
