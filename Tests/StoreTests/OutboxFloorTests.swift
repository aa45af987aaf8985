import Domain
import Postgres
import Store
import Testing
import TestSupport

@Suite struct OutboxFloorTests {
    @Test func `the floor waits for transactions that may still bring lower ids`() async throws {
        try await Fixture.with { fixture in
            let slow = try fixture.connection()
            let quick = try fixture.connection()
            let relay = try fixture.connection()
            let task = try fixture.submit(quick)
            let other = try fixture.submit(quick)
            var floor = OutboxFloor()
            try Self.drain(&floor, relay)
            // An id is taken and not committed while later ones come and go.
            try slow.execute(script: "BEGIN")
            try TaskLog.append(.agentTurn, to: task, attempt: 1, in: slow)
            for _ in 0..<5 {
                try TaskLog.append(.agentTurn, to: other, attempt: 1, in: quick)
                try Self.drain(&floor, relay)
            }
            try slow.execute(script: "COMMIT")
            let page = try OutboxStore.page(shards: Array(0..<8), above: floor, limit: 100, in: relay)
            #expect(page.rows.map(\.taskID) == [task.rawValue])
        }
    }

    @Test func `the floor waits for the newest transaction of all, which no snapshot counts yet`() async throws {
        try await Fixture.with { fixture in
            let newest = try fixture.connection()
            let relay = try fixture.connection()
            let task = try fixture.submit(newest)
            var floor = OutboxFloor()
            try Self.drain(&floor, relay)
            try newest.execute(script: "BEGIN")
            try TaskLog.append(.agentTurn, to: task, attempt: 1, in: newest)
            for _ in 0..<5 { try Self.drain(&floor, relay) }
            try newest.execute(script: "COMMIT")
            let page = try OutboxStore.page(shards: Array(0..<8), above: floor, limit: 100, in: relay)
            #expect(page.rows.count == 1)
        }
    }

    @Test func `an old snapshot does not hold the floor back`() async throws {
        try await Fixture.with { fixture in
            let dump = try fixture.connection()
            let writer = try fixture.connection()
            let relay = try fixture.connection()
            let task = try fixture.submit(writer)
            try dump.execute(script: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM tasks")
            var floor = OutboxFloor()
            for _ in 0..<10 {
                try TaskLog.append(.agentTurn, to: task, attempt: 1, in: writer)
                try Self.drain(&floor, relay)
            }
            let last = try relay.query("SELECT last_value FROM outbox_id_seq").only().get("last_value", as: Int64.self)
            // Transactions of other databases count for the server's oldest one too, so it may take a moment.
            try await eventually("the floor is at the end", within: .seconds(90)) {
                try Self.drain(&floor, relay)
                return floor.id == last
            }
        }
    }

    @Test func `an outbox that was never used leaves its first id to come`() async throws {
        try await Fixture.with { fixture in
            let relay = try fixture.connection()
            var floor = OutboxFloor()
            for _ in 0..<5 { try Self.drain(&floor, relay) }
            _ = try fixture.submit(relay)
            let page = try OutboxStore.page(shards: Array(0..<8), above: floor, limit: 100, in: relay)
            #expect(page.rows.map(\.id) == [1, 2])
        }
    }

    @Test func `lanes that are held back fill no page`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let (first, second) = (try fixture.submit(connection), try fixture.submit(connection))
            let held = ["events/\(first)", "commands/\(first)"]
            let page = try OutboxStore.page(
                shards: Array(0..<8), above: OutboxFloor(), limit: 2, without: held, in: connection)
            #expect(page.rows.map(\.lane) == ["events/\(second)", "commands/\(second)"])
        }
    }

    @Test func `what stays keeps the floor below it`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            _ = try fixture.submit(connection)
            var floor = OutboxFloor()
            for _ in 0..<3 {
                let page = try OutboxStore.page(shards: Array(0..<8), above: floor, limit: 100, in: connection)
                #expect(page.rows.count == 2)
                floor.advance(page, isWhole: true, lowestPending: page.rows.first?.id)
            }
        }
    }

    private static func drain(_ floor: inout OutboxFloor, _ connection: Connection) throws {
        let page = try OutboxStore.page(shards: Array(0..<8), above: floor, limit: 100, in: connection)
        try OutboxStore.delete(ids: page.rows.map(\.id), in: connection)
        floor.advance(page, isWhole: page.rows.count < 100, lowestPending: nil)
    }
}
