import Domain
import Messaging
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite(.serialized, .timeLimit(.minutes(6)))
struct DeletedTaskReplayTests {
    /// As handlers find it: no task, no head, no ledger.
    private struct NoTask: Error {}

    @Test func `messages of a deleted task that come again are dropped and hold up nobody`() async throws {
        try await Spine.with { spine in
            let (gone, here) = (Spine.task(), Spine.task())
            try spine.connection().query("INSERT INTO deleted_tasks (task_id) VALUES (\(gone.rawValue))")
            let handler = Scripted { message, step in
                if message.taskID == gone, message.seq > 2 { throw NoTask() }
                return try await step.record(message)
            }
            try await spine.publish(
                [1, 5, 2, 1, 7].map { Spine.message(gone, $0) } + [1, 2].map { Spine.message(here, $0) })
            try await spine.consuming(handler) {
                try await eventually("the other task goes on") { try spine.effects(of: here) == [1, 2] }
                try await eventually("all is acked") { try await spine.depth() == 0 }
                try await eventually("nothing is parked") { try spine.parked() == 0 }
            }
            #expect(try spine.effects(of: gone) == [])
            #expect(try spine.deadLetters() == 0)
            let positions: Query = "SELECT count(*) FROM consumer_positions WHERE task_id = \(gone.rawValue)"
            #expect(try spine.count(positions) == 0)
        }
    }
}
