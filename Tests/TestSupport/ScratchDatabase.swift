import FoundationEssentials
import Glibc
import Postgres
import Testing
import Lifecycle

/// Creates a database of its own for `body`, gives it the URL, and drops the database afterwards, also when `body`
/// throws or its task is cancelled.
///
/// Servers come from `BGAGENT_TEST_POSTGRES_URL`, on this machine only, so that no test can reach a database that
/// matters. Without the variable the test fails: a test that did not run has proved nothing.
/// - Parameter template: the database to copy; nobody may be connected to it meanwhile.
package func withScratchDatabase<Result>(
    template: String? = nil, isolation: isolated (any Actor)? = #isolation,
    _ body: (_ url: String) async throws -> Result
) async throws -> Result {
    let server = try ScratchDatabase.server()
    let name = "scratch_\(UUID().uuidString.lowercased().filter { $0 != "-" })"
    try await ScratchDatabase.create(name, template: template, on: server)
    do {
        let result = try await body(try ScratchDatabase.url(of: name, on: server))
        try await ScratchDatabase.drop(name, on: server)
        return result
    } catch {
        try? await ScratchDatabase.drop(name, on: server)
        throw error
    }
}

/// The parts of `withScratchDatabase`, and the URL for tests that carry the trait.
package enum ScratchDatabase {
    /// The URL of the database made by the trait `.scratchDatabase`.
    @TaskLocal package static var current: String?

    /// Why there is no database for the test.
    package struct Unavailable: Error, CustomStringConvertible {
        package let description: String
    }

    /// The URL of the current test's database.
    package static func url() throws -> String {
        guard let current else { throw Unavailable(description: "the test lacks the trait .scratchDatabase") }
        return current
    }

    /// Many, since every CREATE and DROP waits for the disk, and those that wait together are served together.
    private static let threads = IOThreads(name: "scratch", count: 16)

    /// The server's URL from the environment; throws unless it is on this machine.
    package static func server() throws -> String {
        guard let value = getenv("BGAGENT_TEST_POSTGRES_URL") else {
            throw Unavailable(description: "BGAGENT_TEST_POSTGRES_URL is not set")
        }
        let url = String(cString: value)
        let host = URLComponents(string: url)?.host ?? ""
        guard ["", "localhost", "127.0.0.1", "::1", "[::1]"].contains(host) || host.hasPrefix("%2F") else {
            throw Unavailable(description: "BGAGENT_TEST_POSTGRES_URL must name a server on this machine")
        }
        return url
    }

    /// The server's URL with another database.
    package static func url(of database: String, on server: String) throws -> String {
        guard var parts = URLComponents(string: server) else {
            throw Unavailable(description: "BGAGENT_TEST_POSTGRES_URL cannot be read")
        }
        parts.path = "/\(database)"
        guard let url = parts.string else { throw Unavailable(description: "no URL for \(database)") }
        return url
    }

    /// Creates a database; for templates that several tests copy.
    package static func create(_ name: String, template: String? = nil, on server: String) async throws {
        try await administer(server) { connection in
            let source: Query = template.map { " TEMPLATE \(identifier: $0)" } ?? ""
            let deadline = Deadline.after(.seconds(30))
            while true {
                do {
                    try connection.query("CREATE DATABASE \(identifier: name)" + source)
                    return
                } catch let error as PostgresError where error.sqlState == "55006" && !deadline.isOver {
                    // Someone is still leaving the template; the server itself waits some seconds before it says so.
                    continue
                }
            }
        }
    }

    /// Drops a database and whoever is still connected to it.
    package static func drop(_ name: String, on server: String) async throws {
        try await administer(server) { connection in
            try connection.query("DROP DATABASE IF EXISTS \(identifier: name) WITH (FORCE)")
        }
    }

    private static func administer(_ server: String, _ body: @escaping @Sendable (Connection) throws -> Void)
        async throws
    {
        try await threads.run {
            let config = try PostgresConfig(
                url: server, applicationName: "tests", lockTimeout: .seconds(60), statementTimeout: .seconds(60))
            try body(try Connection(config))
        }
    }
}

/// Gives a test a database of its own, found at `ScratchDatabase.url()`.
package struct ScratchDatabaseTrait: TestTrait, SuiteTrait, TestScoping {
    /// Each test of a suite gets its own.
    package let isRecursive = true

    /// Runs the test inside `withScratchDatabase`.
    package func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard testCase != nil else { return try await function() }
        try await withScratchDatabase { url in
            try await ScratchDatabase.$current.withValue(url) { try await function() }
        }
    }
}

extension Trait where Self == ScratchDatabaseTrait {
    /// A database of its own for the test.
    package static var scratchDatabase: Self { Self() }
}
