import Domain
import Postgres
import Store
import TestSupport
import Testing

@Suite struct MemberStoreTests {
    private static let places = [Int64](repeating: 0, count: 8)

    private func renew(
        _ connection: Connection, _ member: String? = nil, of consumer: String = "c", lease: Double = 60,
        places: [Int64] = places
    ) throws -> MemberStore.View {
        try connection.transaction {
            try MemberStore.renew(consumer, member: member, places: places, leaseSeconds: lease, in: $0)
        }
    }

    /// Makes the rows look as if time had passed, or the clock had gone back: by so many seconds.
    private func shift(_ seconds: Double, of member: String? = nil, _ connection: Connection) throws {
        try connection.query(
            """
            UPDATE consumer_members SET seen_at = seen_at - make_interval(secs => \(seconds)),
                since = since - make_interval(secs => \(seconds))
            WHERE \(member)::text IS NULL OR member_id = \(member)
            """)
    }

    @Test func `members rank by the order in which they joined and see each other's places`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let ids = try (0..<3).map { _ in try renew(connection).me }
            #expect(Set(ids).count == 3)
            let view = try renew(connection, ids[1], places: [1, 2, 3, 4, 5, 6, 7, 8])
            #expect(view.me == ids[1])
            #expect(view.members.map(\.id) == ids)
            #expect(view.members[1].places == [1, 2, 3, 4, 5, 6, 7, 8])
            #expect(
                try renew(connection, ids[0]).members == [
                    ConsumerMember(id: ids[0], places: Self.places), view.members[1],
                    ConsumerMember(id: ids[2], places: Self.places),
                ])
        }
    }

    @Test func `who leaves is gone at once, and who was removed joins again behind the others`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let ids = try (0..<3).map { _ in try renew(connection).me }
            try MemberStore.leave("c", member: ids[0], in: connection)
            try MemberStore.leave("c", member: ids[0], in: connection)
            #expect(try renew(connection, ids[1]).members.map(\.id) == [ids[1], ids[2]])
            #expect(try renew(connection, ids[0]).members.map(\.id) == [ids[1], ids[2], ids[0]])
        }
    }

    @Test func `consumers of different names share nothing`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let first = try renew(connection, of: "c").me
            let second = try renew(connection, of: "d").me
            #expect(try renew(connection, first, of: "c").members.map(\.id) == [first])
            #expect(try renew(connection, second, of: "d").members.map(\.id) == [second])
            try shift(1000, of: second, connection)
            #expect(try renew(connection, first, of: "c").removed == 0)
            #expect(try MemberStore.members("d", in: connection).map(\.id) == [second])
        }
    }

    @Test func `a member that is not seen for its lease is removed by one that was there all the time`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let (gone, other) = (try renew(connection).me, try renew(connection).me)
            for _ in 0..<3 {
                try shift(15, connection)
                #expect(try renew(connection, other).members.map(\.id) == [gone, other])
            }
            try shift(16, connection)
            #expect(try renew(connection, other).removed == 1)
            #expect(try MemberStore.members("c", in: connection).map(\.id) == [other])
        }
    }

    @Test func `after an outage nobody is removed before everybody had a lease to come back`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let ids = try (0..<3).map { _ in try renew(connection).me }
            try shift(600, connection)
            // The first one back finds all others silent for ten minutes.
            #expect(try renew(connection, ids[0]).removed == 0)
            try shift(15, connection)
            #expect(try renew(connection, ids[0]).removed == 0)
            #expect(try renew(connection, ids[1]).members.map(\.id) == ids)
            for _ in 0..<4 {
                try shift(15, connection)
                _ = try renew(connection, ids[0])
                _ = try renew(connection, ids[1])
            }
            #expect(try MemberStore.members("c", in: connection).map(\.id) == [ids[0], ids[1]])
        }
    }

    @Test(arguments: [3600.0, -3600])
    func `a step of the database's clock removes nobody who lives`(step: Double) async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let ids = try (0..<3).map { _ in try renew(connection).me }
            let dead = try renew(connection).me
            for _ in 0..<3 {
                try shift(19, connection)
                for id in ids + [dead] { _ = try renew(connection, id) }
            }
            try shift(step, connection)
            for _ in 0..<2 {
                for id in ids { #expect(try renew(connection, id).removed == 0) }
                try shift(15, connection)
            }
            #expect(try MemberStore.members("c", in: connection).map(\.id) == ids + [dead])
            // Who does not come back after the step is gone a lease later, though its row lies in the future.
            var removed = 0
            for _ in 0..<5 {
                for id in ids { removed += try renew(connection, id).removed }
                try shift(15, connection)
            }
            #expect(removed == 1)
            #expect(try MemberStore.members("c", in: connection).map(\.id) == ids)
        }
    }

    @Test func `the last members of a consumer that is no more are cleared away by whoever joins`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            _ = try renew(connection, of: "old")
            try shift(90_000, connection)
            _ = try renew(connection, of: "new")
            #expect(try MemberStore.members("old", in: connection).isEmpty)
        }
    }

    @Test func `many look at once and all see the same order`() async throws {
        try await Fixture.with { fixture in
            let views = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        let connection = try fixture.connection()
                        let me = try self.renew(connection).me
                        for _ in 0..<20 { _ = try self.renew(connection, me) }
                        return [me]
                    }
                }
                return try await group.reduce(into: [String]()) { $0 += $1 }
            }
            let connection = try fixture.connection()
            let seen = try MemberStore.members("c", in: connection).map(\.id)
            #expect(Set(seen) == Set(views))
            #expect(try MemberStore.members("c", in: connection).map(\.id) == seen)
        }
    }
}
