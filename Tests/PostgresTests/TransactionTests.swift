import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase)
struct TransactionTests {
    private struct Refused: Error {}

    private func count() throws -> Int {
        try connect().query("SELECT count(*) FROM t").only().get(0)
    }

    private func prepared() throws -> Connection {
        let connection = try connect()
        try connection.query("CREATE TABLE t (n int8 CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        return connection
    }

    @Test func `all of it is kept, or nothing`() throws {
        let connection = try prepared()
        let result = try connection.transaction { connection in
            try connection.query("INSERT INTO t VALUES (1)")
            try connection.query("INSERT INTO t VALUES (2)")
            return try count()
        }
        #expect(result == 0)
        #expect(try count() == 2)
        #expect(throws: Refused.self) {
            try connection.transaction { connection in
                try connection.query("DELETE FROM t")
                throw Refused()
            }
        }
        #expect(try count() == 2)
        #expect(!connection.hasOpenTransaction)
    }

    @Test func `a body without statements needs no server`() throws {
        let connection = try prepared()
        #expect(try connection.transaction { _ in 7 } == 7)
        #expect(throws: Refused.self) { try connection.transaction { _ in throw Refused() } }
        #expect(!connection.hasOpenTransaction)
    }

    @Test func `enqueued statements travel with the next one or with COMMIT`() throws {
        let connection = try prepared()
        try connection.transaction { connection in
            try connection.enqueue("INSERT INTO t VALUES (1)")
            #expect(try connection.query("SELECT * FROM t").count == 1)
            try connection.enqueue("INSERT INTO t VALUES (2)")
        }
        try connection.transaction { try $0.enqueue("INSERT INTO t VALUES (3)") }
        #expect(try count() == 3)
        let error = try postgresError { try connection.transaction { try $0.enqueue("SELECT 1 / 0") } }
        #expect(error.kind == .statement && error.sqlState == "22012")
        #expect(!connection.hasOpenTransaction)
        #expect(try postgresError { try connection.enqueue("SELECT 1") }.kind == .misuse)
    }

    @Test func `a refused COMMIT is not an error of the body`() throws {
        let connection = try prepared()
        let error = try postgresError {
            try connection.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                try connection.query("INSERT INTO t VALUES (1)")
            }
        }
        #expect(error.kind == .commitFailed && error.constraint == "once")
        #expect(try count() == 0)
        #expect(!connection.hasOpenTransaction && !connection.isBroken)
    }

    @Test func `a swallowed error cannot end in a silent rollback`() throws {
        let connection = try prepared()
        let error = try postgresError {
            try connection.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                _ = try? connection.query("SELECT 1 / 0")
            }
        }
        #expect(error.kind == .transactionAborted)
        #expect(!connection.hasOpenTransaction)
    }

    @Test func `transactions do not nest and are not ended by hand`() throws {
        let connection = try prepared()
        let nested = try postgresError { try connection.transaction { try $0.transaction { _ in } } }
        #expect(nested.kind == .misuse)
        let ended = try postgresError {
            try connection.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                try connection.query("COMMIT")
                try connection.query("INSERT INTO t VALUES (2)")
            }
        }
        #expect(ended.kind == .misuse)
        // Nothing slips out of its transaction: the second row was never sent.
        #expect(try count() == 1)
        #expect(!connection.hasOpenTransaction)
    }

    @Test func `a session that dies in the body has kept nothing, and says so`() throws {
        let connection = try prepared()
        let between = try postgresError {
            try connection.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                try terminate(connection.processID)
                try connection.query("INSERT INTO t VALUES (2)")
            }
        }
        #expect(between.kind == .connectionLost && connection.isBroken)
        let other = try connect()
        let beforeCommit = try postgresError {
            try other.transaction { connection in
                try connection.query("INSERT INTO t VALUES (1)")
                try terminate(connection.processID)
            }
        }
        #expect(beforeCommit.kind == .connectionLost)
        #expect(try count() == 0)
    }

    @Test func `a session that dies in COMMIT leaves the outcome unknown`() throws {
        let connection = try prepared()
        // A deferred trigger runs inside COMMIT, and this one ends its own session there.
        try connection.execute(
            script: """
                CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(5); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER die AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION die();
                """)
        let error = try postgresError { try connection.transaction { try $0.query("INSERT INTO t VALUES (1)") } }
        #expect(error.kind == .outcomeUnknown && error.isConnectionLost && error.isUnavailable && !error.isRetryable)
    }

    @Test func `a transaction that pauses too long is ended by the server`() throws {
        let connection = try Connection(try scratchConfig(idleInTransactionTimeout: .milliseconds(30)))
        let observer = try connect()
        let error = try postgresError {
            try connection.transaction { connection in
                try connection.query("SELECT 1")
                // The server's own clock tells when it has let the session go.
                while try !observer.query("SELECT 1 FROM pg_stat_activity WHERE pid = \(connection.processID)").isEmpty
                {}
                try connection.query("SELECT 2")
            }
        }
        #expect(error.isConnectionLost && error.sqlState == "25P03")
    }

    @Test func `modes decide what is seen and what may be done`() throws {
        let connection = try prepared()
        let seen = try connection.transaction(.repeatableRead) { connection in
            let before = try connection.query("SELECT * FROM t").count
            try connect().query("INSERT INTO t VALUES (1)")
            return try connection.query("SELECT * FROM t").count == before
        }
        #expect(seen)
        let error = try postgresError { try connection.transaction(.readOnly) { try $0.query("DELETE FROM t") } }
        #expect(error.sqlState == "25006")
    }
}
