import AMQP
import Domain
import Lifecycle
import Messaging
import Postgres
import Store
import TestSupport
import Testing
import Threads

@Suite(.serialized, .timeLimit(.minutes(6)))
struct ConsumerTests {
    @Test func `a duplicate is dropped and its effect happens once`() async throws {
        try await Spine.with { spine in
            let task = Spine.task()
            try await spine.publish([1, 1, 2, 1, 2, 3, 3].map { Spine.message(task, $0) })
            let handler = Scripted { message, step in try await step.record(message) }
            try await spine.consuming(handler) {
                try await eventually("three effects") { try spine.effects(of: task).count == 3 }
            }
            try await spine.consuming(handler) {
                try await eventually("all is acked") { try await spine.depth() == 0 }
            }
            #expect(try spine.effects(of: task) == [1, 2, 3])
            #expect(try spine.parked() == 0)
            #expect(try await spine.depth() == 0)
        }
    }

    @Test(arguments: [false, true])
    func `a dead letter that is replayed is handled once more, behind the position and once`(
        callsOutside: Bool
    ) async throws {
        try await Spine.with { spine in
            let connection = try spine.connection()
            let task = try spine.submit(connection)
            try connection.transaction { tx in try TaskLog.send(.slotFree, to: task, attempt: 1, in: tx) }
            let isBroken = Lock(true)
            let handler = Scripted(callsOutside: callsOutside) { message, step in
                if message.seq == 1, isBroken.withLock({ $0 }) { return .deadLetter(reason: "broken") }
                return try await step.record(message)
            }
            try await spine.withRunning(try spine.relay()) { _ in
                try await spine.consuming(of: .commands, handler) {
                    try await eventually("the second is done") { try spine.effects(of: task) == [2] }
                    let letter = try #require(
                        try DeadLetterStore.list(task: task.rawValue, after: nil, limit: 10, in: connection).first)
                    // Once while it is still broken: a dead letter anew. Then for good; a second order finds nothing.
                    try connection.transaction { try DeadLetterStore.replay(letter, in: $0) }
                    try await eventually("it was put aside again") { try spine.deadLetters() == 2 }
                    isBroken.withLock { $0 = false }
                    let again = try #require(
                        try DeadLetterStore.list(task: task.rawValue, after: nil, limit: 10, in: connection).first)
                    try connection.transaction { try DeadLetterStore.replay(again, in: $0) }
                    try connection.transaction {
                        try ConsumerStore.republish(stream: "commands", task: task.rawValue, seq: 1, in: $0)
                    }
                    try await eventually("it is done") { try spine.effects(of: task) == [2, 1] }
                    try await eventually("all is acked") { try await spine.depth() == 0 }
                }
            }
            #expect(try spine.effects(of: task) == [2, 1])
            #expect(try spine.count("SELECT count(*) FROM message_replays") == 0)
            #expect(try spine.count("SELECT last_seq FROM consumer_positions WHERE consumer = 'test'") == 2)
        }
    }

    @Test(arguments: [TaskStream.commands, .events])
    func `a gap waits and the missing message is made again from the truth`(stream: TaskStream) async throws {
        try await Spine.with { spine in
            let connection = try spine.connection()
            let task = try spine.submit(connection)
            for _ in 2...5 {
                try connection.transaction { tx in
                    try TaskLog.append(.agentTurn, to: task, attempt: 1, in: tx)
                    try TaskLog.send(.slotFree, to: task, attempt: 1, in: tx)
                }
            }
            let lost = try connection.query(
                "DELETE FROM outbox WHERE stream = \(stream.name) AND stream_seq IN (2, 3) RETURNING id")
            #expect(lost.count == 2)
            let handler = Scripted { message, step in try await step.record(message) }
            try await spine.withRunning(try spine.relay()) { _ in
                try await spine.consuming(of: stream, handler) {
                    try await eventually("five effects") { try spine.effects(of: task).count == 5 }
                    try await eventually("nothing is parked") { try spine.parked() == 0 }
                }
            }
            #expect(try spine.effects(of: task) == [1, 2, 3, 4, 5])
        }
    }

    @Test func `a retry and a snooze keep the order of their task and hold no other up`() async throws {
        try await Spine.with { spine in
            let first = Spine.task()
            let others = (0..<3).map { _ in Spine.task() }
            let done = Lock<Set<String>>([])
            let tries = Lock(0)
            let handler = Scripted { message, step in
                if message.taskID == first, message.seq == 1, done.withLock({ $0.count }) < 9 {
                    return .snooze(for: .milliseconds(5), reason: "waits for the others")
                }
                if message.taskID == first, message.seq == 2 {
                    let count = tries.withLock { tries in
                        tries += 1
                        return tries
                    }
                    if count < 3 { return .retry(after: .milliseconds(5), reason: "try \(count)") }
                }
                let outcome = try await step.record(message)
                if message.taskID != first { done.withLock { _ = $0.insert(message.id) } }
                return outcome
            }
            try await spine.publish((1...3).flatMap { seq in ([first] + others).map { Spine.message($0, Int64(seq)) } })
            try await spine.consuming(handler) {
                for task in [first] + others {
                    try await eventually("its three effects") { try spine.effects(of: task) == [1, 2, 3] }
                }
                try await eventually("nothing is parked") { try spine.parked() == 0 }
            }
            #expect(tries.withLock { $0 } == 3)
            #expect(try spine.deadLetters() == 0)
        }
    }

    @Test func `what fails five times is put aside alone and its lane goes on`() async throws {
        struct Broken: Error {}
        try await Spine.with { spine in
            let task = Spine.task()
            let tries = Lock(0)
            let handler = Scripted { message, step in
                guard message.seq == 1 else { return try await step.record(message) }
                tries.withLock { $0 += 1 }
                throw Broken()
            }
            try await spine.publish([1, 2, 3].map { Spine.message(task, $0) })
            try await spine.consuming(handler) {
                try await eventually("the later ones are done") { try spine.effects(of: task) == [2, 3] }
                try await eventually("nothing is parked") { try spine.parked() == 0 }
            }
            #expect(tries.withLock { $0 } == 5)
            let row = try spine.connection().query("SELECT task_id, seq, reason, state FROM dead_letters").only()
            #expect(try row.get("task_id") == task.rawValue)
            #expect(try row.get("seq") == Int64(1))
            #expect(try row.get("reason", as: String.self).contains("Broken"))
            #expect(try row.get("state") == "open")
        }
    }

    @Test func `what cannot be decoded is put aside once and holds nothing up`() async throws {
        try await Spine.with { spine in
            let task = Spine.task()
            var noSeq = Spine.message(task, 1)
            noSeq.headers = [:]
            var noTask = Spine.message(task, 1)
            noTask.correlationID = "nobody"
            var zero = Spine.message(task, 1)
            zero.messageID = "a\0b"
            try await spine.publish([Spine.message(task, 1, body: "{"), noSeq, noTask, zero, Spine.message(task, 1)])
            try await spine.consuming(Scripted { message, step in try await step.record(message) }) {
                try await eventually("four are put aside") { try spine.deadLetters() == 4 }
                try await eventually("the good one is done") { try spine.effects(of: task) == [1] }
            }
            #expect(try await spine.depth() == 0)
            #expect(try spine.deadLetters() == 4)
        }
    }

    @Test func `a handler that does not answer in time is tried again`() async throws {
        try await Spine.with { spine in
            let task = Spine.task()
            let tries = Lock(0)
            var settings = Spine.quick
            settings.deadline = .milliseconds(50)
            let handler = Scripted { message, step in
                let count = tries.withLock { tries in
                    tries += 1
                    return tries
                }
                if count < 3 {
                    await untilCancelled()
                    throw CancellationError()
                }
                return try await step.record(message)
            }
            try await spine.publish([1, 2].map { Spine.message(task, $0) })
            try await spine.consuming(handler, settings) {
                try await eventually("both are done") { try spine.effects(of: task) == [1, 2] }
            }
            #expect(tries.withLock { $0 } >= 3)
        }
    }

    @Test func `tasks are worked on side by side and each one message at a time`() async throws {
        try await Spine.with { spine in
            let tasks = (0..<4).map { _ in Spine.task() }
            let inside = Lock<[TaskID: Int]>([:])
            let most = Lock(0)
            let together = Lock(false)
            let handler = Scripted { message, step in
                inside.withLock { $0[message.taskID, default: 0] += 1 }
                let count = inside.withLock { $0[message.taskID] ?? 0 }
                most.withLock { $0 = max($0, count) }
                try await eventually("all tasks are at work at once") {
                    if inside.withLock({ $0.values.filter { $0 > 0 }.count }) == 4 { together.withLock { $0 = true } }
                    return together.withLock { $0 }
                }
                let outcome = try await step.record(message)
                inside.withLock { $0[message.taskID, default: 0] -= 1 }
                return outcome
            }
            var settings = Spine.quick
            settings.lanes = 4
            try await spine.publish((1...3).flatMap { seq in tasks.map { Spine.message($0, Int64(seq)) } })
            try await spine.consuming(handler, settings) {
                for task in tasks {
                    try await eventually("its three effects") { try spine.effects(of: task) == [1, 2, 3] }
                }
            }
            #expect(most.withLock { $0 } == 1)
        }
    }

    @Test func `a stop acks all that is finished and nothing else`() async throws {
        try await Spine.with { spine in
            let task = Spine.task()
            let started = TestSignal<Void>()
            let mayEnd = Lock(false)
            let handler = Scripted { message, step in
                started.send()
                try await eventually("the handler may end") { mayEnd.withLock { $0 } }
                return try await step.record(message)
            }
            try await spine.publish([1, 2, 3].map { Spine.message(task, $0) })
            let consumer = try spine.consumer(handler)
            try await started.wait(within: .seconds(90))
            consumer.cancel()
            mayEnd.withLock { $0 = true }
            await consumer.stop()
            let done = try spine.effects(of: task)
            #expect(done == Array([1, 2, 3].prefix(done.count)) && !done.isEmpty)
            try await eventually("the rest is with the broker again") { try await spine.depth() == 3 - done.count }
            try await spine.consuming(Scripted { message, step in try await step.record(message) }) {
                try await eventually("the next consumer does the rest") { try spine.effects(of: task) == [1, 2, 3] }
            }
        }
    }
}
