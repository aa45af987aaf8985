import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase)
struct PipelineTests {
    @Test func `results come in the order of the statements`() throws {
        let connection = try connect()
        let results = try connection.pipeline((1...300).map { "SELECT \($0) AS n" })
        #expect(try results.map { try $0.only().get("n", as: Int.self) } == Array(1...300))
        #expect(try connection.pipeline([]).isEmpty)
    }

    @Test func `the first error undoes the flight and leaves the session usable`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t (n int8 PRIMARY KEY)")
        for _ in 1...2 {
            let error = try postgresError {
                try connection.pipeline([
                    "INSERT INTO t VALUES (\(1))", "SELECT 1 / \(0)", "INSERT INTO t VALUES (\(2))", "SELECT nothing",
                ])
            }
            #expect(error.sqlState == "22012")
            #expect(!connection.hasOpenTransaction)
        }
        #expect(try connection.query("SELECT * FROM t").isEmpty)
        // What the skipped statements would have prepared is prepared now.
        try connection.pipeline(["INSERT INTO t VALUES (\(1))", "INSERT INTO t VALUES (\(2))"])
        #expect(try connection.query("SELECT * FROM t").count == 2)
    }

    @Test func `a statement that cannot be parsed does not count as prepared`() throws {
        let connection = try connect()
        let query: Query = "SELECT * FROM later"
        #expect(try postgresError { try connection.pipeline(["SELECT 1", query, query]) }.sqlState == "42P01")
        try connection.query("CREATE TABLE later ()")
        #expect(try connection.query(query).isEmpty)
    }

    @Test func `large flights in both directions do not block each other`() throws {
        let connection = try connect()
        let block = String(repeating: "x", count: 200_000)
        let results = try connection.pipeline(
            (0..<40).map { _ in "SELECT \(block)::text || repeat('y', 200000) AS text" })
        #expect(try results.allSatisfy { try $0.only().get("text", as: String.self).utf8.count == 400_000 })
    }

    @Test func `an error inside a transaction leaves nothing of it`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t (n int8)")
        let error = try postgresError {
            try connection.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                try connection.pipeline(["INSERT INTO t VALUES (2)", "SELECT 1 / 0"])
            }
        }
        #expect(error.sqlState == "22012" && error.kind == .statement)
        #expect(try connection.query("SELECT * FROM t").isEmpty)
    }

    @Test func `a session that ends in mid flight is reported as lost`() throws {
        let connection = try connect()
        let error = try postgresError {
            try connection.pipeline([
                "SELECT 1", "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_sleep(1)", "SELECT 2",
            ])
        }
        #expect(error.isConnectionLost && connection.isBroken)
    }
}
