import Domain
import Postgres
@testable import Store
import TestSupport
import Testing
import Threads

@Suite struct TaskStoreTests {
    @Test func `of two that read the same version one moves the task`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let threads = IOThreads(name: "move", count: 8)
            for _ in 0..<5 {
                let id = try fixture.submit(connection)
                let task = try #require(try TaskStore.load(id, in: connection))
                let moved = try await race(threads, 8) { index -> Bool in
                    do {
                        try fixture.connection().transaction { tx in
                            _ = try TaskStore.move(task, on: index % 2 == 0 ? .admitted : .cancelled, in: tx)
                        }
                        return true
                    } catch StoreError.conflict {
                        return false
                    }
                }
                #expect(moved.filter { $0 }.count == 1)
                let after = try #require(try TaskStore.load(id, in: connection))
                #expect(after.version == task.version + 1)
            }
            await threads.stopped()
        }
    }

    @Test func `a move that is none is refused before it is written`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            let task = try #require(try TaskStore.load(id, in: connection))
            #expect(throws: StoreError.forbidden(from: .submitted, trigger: .completed)) {
                try connection.transaction { tx in _ = try TaskStore.move(task, on: .completed, in: tx) }
            }
            #expect(try TaskStore.load(id, in: connection)?.version == task.version)
        }
    }

    @Test func `what fails takes state, event and message back together`() async throws {
        struct Stop: Error {}
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            let before = try Self.counts(connection)
            let task = try #require(try TaskStore.load(id, in: connection))
            #expect(throws: Stop.self) {
                try connection.transaction { tx in
                    _ = try TaskStore.move(task, on: .cancelled, in: tx)
                    throw Stop()
                }
            }
            #expect(try Self.counts(connection) == before)
            #expect(try TaskStore.load(id, in: connection)?.status == .submitted)
            try connection.transaction { tx in _ = try TaskStore.move(task, on: .cancelled, in: tx) }
            #expect(try Self.counts(connection) == before.map { $0 + 1 })
        }
    }

    @Test func `a timer fires once, when it is due, as a command`() async throws {
        try await Fixture.with { fixture in
            let connection = try fixture.connection()
            let id = try fixture.submit(connection)
            try TimerStore.set(.retry, of: id, attempt: 1, inSeconds: 0, in: connection)
            try TimerStore.set(.duration, of: id, attempt: 1, inSeconds: 3600, in: connection)
            let threads = IOThreads(name: "fire", count: 4)
            let fired = try await race(threads, 4) { _ in
                try fixture.connection().transaction { try TimerStore.fire(limit: 10, in: $0) }
            }
            await threads.stopped()
            #expect(fired.flatMap { $0 } == [DueTimer(taskID: id, attempt: 1, kind: .retry)])
            let told = try connection.query(
                "SELECT payload ->> 'kind' AS kind FROM task_commands WHERE command = 'timer_due'"
            ).only()
            #expect(try told.get("kind") == "retry")
            try TimerStore.set(.duration, of: id, attempt: 1, inSeconds: 0, in: connection)
            try TimerStore.clear(.duration, of: id, in: connection)
            #expect(try connection.transaction { try TimerStore.fire(limit: 10, in: $0) }.isEmpty)
        }
    }

    private static func counts(_ connection: Connection) throws -> [Int] {
        let row = try connection.query(
            """
            SELECT (SELECT count(*) FROM task_events) AS events,
                (SELECT count(*) FROM outbox WHERE stream = 'events') AS messages
            """
        ).only()
        return [try row.get("events"), try row.get("messages")]
    }
}
