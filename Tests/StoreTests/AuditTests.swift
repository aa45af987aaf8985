import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite struct AuditTests {
    @Test func `the audit chain is whole, whoever writes at once and in whatever time zone`() async throws {
        try await Fixture.with { fixture in
            let threads = IOThreads(name: "audit", count: 8)
            _ = try await race(threads, 8) { index in
                let connection = try fixture.connection()
                try connection.query("SELECT set_config('TimeZone', \("Etc/GMT+\(index)"), false)")
                for round in 0..<20 { try Self.note("w\(index)", round, connection) }
                return true
            }
            await threads.stopped()
            let connection = try fixture.connection()
            #expect(try Self.breach(connection) == nil)
            let links: Int = try connection.query("SELECT count(DISTINCT chain) FROM audit_log").only().get(0)
            #expect(links == 160)
        }
    }

    @Test func `the audit log takes no change, and one that is forced breaks the chain`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            for round in 0..<5 { try Self.note("w", round, connection) }
            let ids = try connection.query("SELECT id FROM audit_log ORDER BY id").map {
                try $0.get("id", as: Int64.self)
            }
            for change in ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"] {
                let refusal = #expect(throws: PostgresError.self) { try connection.execute(script: change) }
                #expect(refusal?.sqlState == "BG003")
            }
            try connection.execute(script: "ALTER TABLE audit_log DISABLE TRIGGER refuse_audit_change")
            try connection.query("UPDATE audit_log SET subject = 'another' WHERE id = \(ids[2])")
            #expect(try Self.breach(connection) == ids[2])
            try connection.query("DELETE FROM audit_log WHERE id = \(ids[2])")
            #expect(try Self.breach(connection) == ids[3])
        }
    }

    @Test func `a log that was cut short is told by a head that was kept`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            for round in 0..<5 { try Self.note("w", round, connection) }
            let kept = try Self.verify(nil, connection).head
            try Self.note("w", 5, connection)
            let longer = try Self.verify(kept, connection)
            #expect(longer.entries == 6)
            #expect(longer.breach == nil)
            #expect(longer.hasSeal)
            try connection.execute(script: "ALTER TABLE audit_log DISABLE TRIGGER refuse_audit_change")
            try connection.query(
                "DELETE FROM audit_log WHERE id NOT IN (SELECT id FROM audit_log ORDER BY id LIMIT 3)")
            let cut = try Self.verify(kept, connection)
            #expect(cut.entries == 3)
            #expect(cut.breach == nil)
            #expect(!cut.hasSeal)
        }
    }

    private static func verify(_ seal: String?, _ connection: Connection) throws -> AuditVerification {
        try connection.transaction { try AuditStore.verify(seal: seal, in: $0) }
    }

    private static func note(_ who: String, _ round: Int, _ connection: Connection) throws {
        try connection.query(
            """
            INSERT INTO audit_log (user_id, action, subject, detail)
            VALUES (\(who), 'test', \("round \(round)"), '{"a": 1}')
            """)
    }

    private static func breach(_ connection: Connection) throws -> Int64? {
        try connection.query("SELECT audit_breach() AS id").only().get("id", as: Int64?.self)
    }
}
