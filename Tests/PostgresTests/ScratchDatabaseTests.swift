import Lifecycle
import Postgres
import TestSupport
import Testing

@Suite struct ScratchDatabaseTests {
    private struct Broken: Error {}

    private func exists(_ url: String) throws -> Bool {
        let name = try #require(url.split(separator: "/").last)
        let server = try PostgresConfig(url: try ScratchDatabase.server(), applicationName: "tests")
        return try !Connection(server).query("SELECT 1 FROM pg_database WHERE datname = \(String(name))").isEmpty
    }

    @Test func `the database is there for the body and gone after it`() async throws {
        let url = try await withScratchDatabase { (url) throws in
            #expect(try exists(url))
            return url
        }
        #expect(try !exists(url))
    }

    @Test func `it is dropped after a failure and under a session that is still open`() async throws {
        let seen = Lock("")
        let left = Lock<Connection?>(nil)
        await #expect(throws: Broken.self) {
            try await withScratchDatabase { url in
                seen.withLock { $0 = url }
                left.withLock { $0 = try? Connection(try PostgresConfig(url: url, applicationName: "tests")) }
                throw Broken()
            }
        }
        #expect(try !exists(seen.withLock { $0 }))
        #expect(left.withLock { connection in (try? connection?.query("SELECT 1")) == nil })
    }

    @Test func `a template is copied with what it holds`() async throws {
        try await withScratchDatabase { template in
            try Connection(try PostgresConfig(url: template, applicationName: "tests"))
                .execute(script: "CREATE TABLE t AS SELECT 7 AS n")
            let name = try #require(template.split(separator: "/").last)
            try await withScratchDatabase(template: String(name)) { copy in
                let connection = try Connection(try PostgresConfig(url: copy, applicationName: "tests"))
                #expect(try connection.query("SELECT n FROM t").only().get("n") == 7)
            }
        }
    }
}
