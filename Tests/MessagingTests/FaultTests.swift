import AMQP
import Domain
import Lifecycle
import Messaging
import Postgres
import TestSupport
import Testing
import Threads

@Suite(.serialized, .timeLimit(.minutes(6)))
struct FaultTests {
    /// Publishes in portions; when half of each is done, something is broken. Everything must be done in order.
    private func storm(
        _ spine: Spine, callsOutside: Bool = false, _ fault: @escaping @Sendable () async throws -> Void
    ) async throws {
        let tasks = (0..<10).map { _ in Spine.task() }
        let handler = Scripted(callsOutside: callsOutside) { message, step in try await step.record(message) }
        try await spine.consuming(handler) {
            for portion in 0..<4 {
                let seqs = (portion * 10 + 1)...(portion * 10 + 10)
                try await spine.publish(seqs.flatMap { seq in tasks.map { Spine.message($0, Int64(seq)) } })
                try await eventually("some of the portion is done") {
                    try spine.count("SELECT count(*) FROM spine_effects") > portion * 100 + 20
                }
                try await fault()
            }
            for task in tasks {
                try await eventually("all is done in order") {
                    try spine.effects(of: task) == Array(1...40)
                }
            }
            try await eventually("nothing is parked") { try spine.parked() == 0 }
        }
        #expect(try spine.deadLetters() == 0)
        #expect(try await spine.depth() == 0)
    }

    @Test func `a consumer whose connection the broker closes resumes`() async throws {
        try await Spine.with { spine in
            try await storm(spine) { try await spine.closeConnections() }
        }
    }

    @Test(arguments: [false, true])
    func `work goes on when the database ends every session`(callsOutside: Bool) async throws {
        try await Spine.with { spine in
            try await storm(spine, callsOutside: callsOutside) {
                for _ in 0..<10 { try spine.terminateSessions() }
            }
        }
    }

    @Test func `while the database is away messages are held, and done when it is back`() async throws {
        try await Spine.with { spine in
            let server = try ScratchDatabase.server()
            let name: String = try spine.connection().query("SELECT current_database()::text").only().get(0)
            try await storm(spine) {
                let admin = try Connection(try PostgresConfig(url: server, applicationName: "tests"))
                try admin.query("ALTER DATABASE \(identifier: name) WITH ALLOW_CONNECTIONS false")
                try admin.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \(name)")
                let task = Spine.task()
                try await spine.publish([Spine.message(task, 1)])
                try await eventually("the message is taken from its queue") { try await spine.depth() == 0 }
                try admin.query("ALTER DATABASE \(identifier: name) WITH ALLOW_CONNECTIONS true")
                try await eventually("it is done") { try spine.effects(of: task) == [1] }
            }
        }
    }

    @Test func `a message that ends its process five times is put aside alone`() async throws {
        try await Spine.with { spine in
            let poisoned = Spine.task()
            let others = (0..<12).map { _ in Spine.task() }
            let messages =
                [Spine.message(poisoned, 1, type: "poison"), Spine.message(poisoned, 2)]
                + others.flatMap { task in (1...5).map { Spine.message(task, Int64($0)) } }
            try await spine.publish(messages)
            try await Workers.with(spine) { workers in
                var deaths = 0
                var worker = try workers.start("consume")
                try await eventually("the poison is put aside and all else is done") {
                    if let exit = worker.ended() {
                        #expect(exit == .code(9))
                        deaths += 1
                        worker = try workers.start("consume")
                    }
                    return try spine.effects(of: poisoned) == [2]
                        && spine.count("SELECT count(*) FROM spine_effects") == 61
                }
                #expect(deaths == 5)
                let letter = try spine.connection().query("SELECT task_id, seq FROM dead_letters").only()
                #expect(try letter.get("task_id") == poisoned.rawValue)
                #expect(try letter.get("seq") == Int64(1))
                try await eventually("no count is left") {
                    try spine.count("SELECT count(*) FROM message_attempts") == 0 && spine.parked() == 0
                }
            }
        }
    }
}
