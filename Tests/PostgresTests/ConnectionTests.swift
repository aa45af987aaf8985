import Postgres
import TestSupport
import Testing

@testable import class Postgres.Connection
@testable import struct Postgres.StatementCache

@Suite(.scratchDatabase)
struct ConnectionTests {
    @Test func `a session carries the limits and the name it was given`() throws {
        let config = try scratchConfig(
            lockTimeout: .milliseconds(1500), statementTimeout: .seconds(4), idleInTransactionTimeout: .seconds(7))
        let settings = try Connection(config).query(
            """
            SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),
                current_setting('idle_in_transaction_session_timeout'), current_setting('application_name'),
                current_setting('TimeZone')
            """
        ).only()
        #expect(try (0..<5).map { try settings.get($0, as: String.self) } == ["1500ms", "4s", "7s", "tests", "UTC"])
    }

    @Test func `an error tells state, constraint and table, and never the value`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE people (mail text CONSTRAINT mail_once UNIQUE)")
        try connection.query("INSERT INTO people VALUES (\("secret@example.org"))")
        let error = try postgresError { try connection.query("INSERT INTO people VALUES (\("secret@example.org"))") }
        #expect(error.kind == .statement && error.sqlState == "23505")
        #expect(error.constraint == "mail_once" && error.table == "people")
        #expect(error.isUniqueViolation() && error.isUniqueViolation(of: "mail_once"))
        #expect(!error.isUniqueViolation(of: "other") && !error.isRetryable && !error.isUnavailable)
        #expect(!"\(error)".contains("secret"))
        let syntax = try postgresError { try connection.query("SELECT \("secret \"x")::int8") }
        #expect(syntax.sqlState == "22P02" && !"\(syntax)".contains("secret"))
    }

    @Test func `a statement that takes too long is ended and the session lives on`() throws {
        let connection = try Connection(try scratchConfig(statementTimeout: .milliseconds(50)))
        #expect(try postgresError { try connection.query("SELECT pg_sleep(5)") }.sqlState == "57014")
        #expect(try connection.query("SELECT 1").count == 1)
    }

    @Test func `a lock that is not free in time is an error to retry`() throws {
        let holder = try connect()
        try holder.query("CREATE TABLE t ()")
        try holder.transaction { holder in
            try holder.query("LOCK TABLE t")
            let waiter = try Connection(try scratchConfig(lockTimeout: .milliseconds(20)))
            let error = try postgresError { try waiter.query("SELECT * FROM t") }
            #expect(error.sqlState == "55P03" && error.isRetryable)
        }
    }

    @Test func `statements are prepared once and stay bounded`() throws {
        let connection = try connect()
        for number in 1...3 { try connection.query("SELECT \(number)") }
        #expect(connection.preparedCount == 1)
        // Another type of value is another statement to the server.
        #expect(try connection.query("SELECT \(true)").only().get(0) == true)
        #expect(connection.preparedCount == 2)
        for number in 0..<(StatementCache.capacity * 2) {
            try connection.transaction { try $0.query("SELECT \(unescaped: "\(number)")") }
        }
        #expect(connection.preparedCount <= StatementCache.capacity)
        let onServer: Int = try connection.query("SELECT count(*) FROM pg_prepared_statements").only().get(0)
        #expect(onServer <= StatementCache.capacity + 1)
    }

    @Test func `a statement is prepared again after its table changed`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t AS SELECT 1 AS a")
        #expect(try connection.query("SELECT * FROM t").columns == ["a"])
        try connect().query("ALTER TABLE t ADD COLUMN b int DEFAULT 2")
        #expect(try connection.query("SELECT * FROM t").columns == ["a", "b"])
        try connect().query("ALTER TABLE t ADD COLUMN c int DEFAULT 3")
        let columns = try connection.transaction { try $0.query("SELECT * FROM t").columns }
        #expect(columns == ["a", "b", "c"])
        #expect(!connection.hasOpenTransaction)
    }

    @Test func `inside a transaction an outdated plan asks for another run`() throws {
        let connection = try connect()
        try connection.query("CREATE TABLE t AS SELECT 1 AS a")
        try connection.query("SELECT * FROM t")
        try connect().query("ALTER TABLE t ADD COLUMN b int")
        let error = try postgresError {
            try connection.transaction { connection in
                try connection.query("SELECT 1")
                try connection.query("SELECT * FROM t")
            }
        }
        #expect(error.isRetryable)
        #expect(try connection.transaction { try $0.query("SELECT * FROM t").columns } == ["a", "b"])
    }

    @Test func `statements the server forgot are prepared again`() throws {
        let connection = try connect()
        for _ in 1...2 {
            #expect(try connection.query("SELECT \(5)").only().get(0) == 5)
            try connection.execute(script: "DEALLOCATE ALL")
        }
    }

    @Test func `a script runs whole or not at all`() throws {
        let connection = try connect()
        try connection.execute(script: "CREATE TABLE a (); CREATE TABLE b (); INSERT INTO a DEFAULT VALUES")
        let error = try postgresError { try connection.execute(script: "DROP TABLE a; DROP TABLE nothing; SELECT 1") }
        #expect(error.sqlState == "42P01")
        #expect(try connection.query("SELECT * FROM a").count == 1)
        try connection.transaction { connection in
            try connection.execute(script: "INSERT INTO a DEFAULT VALUES; INSERT INTO a DEFAULT VALUES")
            #expect(connection.hasOpenTransaction)
        }
        #expect(try connection.query("SELECT * FROM a").count == 3)
    }

    @Test func `a session that ended says so at once and for good`() throws {
        let connection = try connect()
        try terminate(connection.processID)
        let error = try postgresError { try connection.query("SELECT 1") }
        #expect(error.kind == .connectionLost && error.isConnectionLost && error.isUnavailable && !error.isRetryable)
        #expect(error.sqlState == "57P01")
        #expect(connection.isBroken)
        for call in [{ try connection.execute(script: "SELECT 1") }, { try connection.transaction { _ in } }] {
            #expect(try postgresError(call).kind == .connectionLost)
        }
    }

    @Test func `COPY is refused and does not hang`() throws {
        let error = try postgresError { try connect().query("COPY (SELECT 1) TO STDOUT") }
        #expect(error.kind == .misuse)
        #expect(try postgresError { try connect().execute(script: "COPY (SELECT 1) TO STDOUT") }.kind == .misuse)
    }
}
