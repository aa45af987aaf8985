import Domain
import Lifecycle
@testable import Messaging
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite(.timeLimit(.minutes(6)))
struct StepTests {
    @Test func `of many owners one commits and the others leave nothing behind`() async throws {
        try await withScratchDatabase { url in
            let connection = try Connection(try PostgresConfig(url: url, applicationName: "tests"))
            _ = try Migrator.run(on: connection)
            try connection.execute(script: "CREATE TABLE marks (owner int NOT NULL)")
            let pool = Pool(try PostgresConfig(url: url, applicationName: "tests"))
            for seq in 1...20 {
                let message = try Self.message(Int64(seq))
                let winners = await withTaskGroup(of: Int?.self) { group in
                    for owner in 0..<8 {
                        let step = Step(pool: pool, consumer: "test", message: message, wasParked: false)
                        group.addTask {
                            let result: Void? = try? await step.commit { tx in
                                _ = try tx.query("INSERT INTO marks VALUES (\(owner))")
                            }
                            return result == nil ? nil : owner
                        }
                    }
                    return await group.reduce(into: [Int]()) { if let owner = $1 { $0.append(owner) } }
                }
                #expect(winners.count == 1)
                let marks: Int = try connection.query("SELECT count(*) FROM marks").only().get(0)
                #expect(marks == seq)
            }
            await pool.close()
        }
    }

    @Test func `a second commit of the same step is refused`() async throws {
        try await withScratchDatabase { url in
            let connection = try Connection(try PostgresConfig(url: url, applicationName: "tests"))
            _ = try Migrator.run(on: connection)
            let pool = Pool(try PostgresConfig(url: url, applicationName: "tests"))
            let step = Step(pool: pool, consumer: "test", message: try Self.message(1), wasParked: false)
            try await step.commit { _ in }
            await #expect(throws: Step.Taken.self) { try await step.commit { _ in } }
            let ahead = Step(pool: pool, consumer: "test", message: try Self.message(3), wasParked: false)
            await #expect(throws: Step.Taken.self) { try await ahead.commit { _ in } }
            await pool.close()
        }
    }

    @Test func `a message whose predecessor is just being done elsewhere is not lost`() async throws {
        try await Spine.with { spine in
            let task = Spine.task()
            let tries = Lock(0)
            let handler = Scripted { message, step in
                tries.withLock { $0 += 1 }
                do {
                    return try await step.record(message)
                } catch is Step.Taken {
                    // Between the refusal and the next look, another process does the message before this one.
                    _ = try ConsumerStore.advance("test", task: task.rawValue, to: 1, in: try spine.connection())
                    throw Step.Taken()
                }
            }
            try await spine.publish([Spine.message(task, 2)])
            try await spine.consuming(handler) {
                try await eventually("it is done") { try spine.effects(of: task) == [2] }
            }
            #expect(tries.withLock { $0 } == 2)
            #expect(try await spine.depth() == 0)
        }
    }

    @Test func `one passes a turnstile at a time`() async throws {
        let turnstile = Turnstile()
        let inside = Lock(0)
        let total = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    await turnstile.pass {
                        let count = inside.withLock { inside in
                            inside += 1
                            return inside
                        }
                        await Task.yield()
                        inside.withLock { $0 -= 1 }
                        return count
                    }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(total == 50)
    }

    private static func message(_ seq: Int64) throws -> Message {
        try Message(
            parked: #"{"id":"m\#(seq)","task_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","seq":\#(seq),"type":"t","text":"{}"}"#,
            queue: "q")
    }
}
