import Domain
import Postgres
import Store
import Testing

/// A message of a task that retention has deleted comes again: its consumer has no position any more, and still nothing
/// happens.
@Suite struct DeletedTaskTests {
    @Test func `messages of a deleted task are done, and nothing of it begins anew`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            func verdict(_ seq: Int64) throws -> PositionVerdict {
                try ConsumerStore.verdict("fanout", task: id.rawValue, seq: seq, in: connection)
            }
            #expect(try ConsumerStore.advance("fanout", task: id.rawValue, to: 1, in: connection))
            #expect(try verdict(2) == .next)
            #expect(try verdict(5) == .ahead(expected: 2))
            try connection.query("DELETE FROM outbox")
            try connection.query("UPDATE tasks SET status = 'CANCELLED' WHERE task_id = \(id.rawValue)")
            try connection.query("UPDATE tasks SET completed_at = now() - interval '1 day'")
            let gone = try #require(
                try connection.transaction { try RetentionStore.deleteTask(id, afterSeconds: 60, limit: 500, in: $0) })
            #expect(gone.isGone)
            for seq: Int64 in [1, 2, 5] {
                #expect(try verdict(seq) == .past)
                #expect(try !ConsumerStore.advance("fanout", task: id.rawValue, to: seq, in: connection))
            }
            #expect(try connection.query("SELECT 1 FROM consumer_positions").isEmpty)
        }
    }

    @Test func `a login that shows what is no longer the password opens nothing`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let user = try #require(UserID(rawValue: Fixture.user))
            try connection.query("UPDATE users SET password_hash = 'old'")
            func open(_ hash: String, _ token: String) throws -> TokenRecord? {
                try connection.transaction { tx in
                    try PasswordStore.openSession(
                        of: user, shown: hash, name: "x", tokenHash: token, lifetime: 60, in: tx)
                }
            }
            #expect(try open("old", "a") != nil)
            #expect(try connection.transaction { try PasswordStore.change(of: user, from: "old", to: "new", in: $0) })
            #expect(try TokenStore.principal(hash: "a", in: connection) == nil)
            #expect(try open("old", "b") == nil)
            #expect(try !connection.transaction { try PasswordStore.change(of: user, from: "old", to: "x", in: $0) })
            #expect(try open("new", "c") != nil)
            _ = try connection.transaction { try UserStore.disable(user, in: $0) }
            #expect(try open("new", "d") == nil)
            #expect(try TokenStore.principal(hash: "c", in: connection) == nil)
        }
    }
}
