import FoundationEssentials
import Lifecycle
import TestSupport
import Testing

@Suite struct IOThreadsTests {
    @Test func `work runs on a thread of the given name and its result comes back`() async throws {
        let threads = IOThreads(name: "io-named-for-test", count: 1)
        let name = try await threads.run {
            try String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
        }
        #expect(name == "io-named-for-te\n")
        await threads.stopped()
    }

    @Test func `an error comes back to the caller`() async {
        struct Refused: Error {}
        let threads = IOThreads(name: "io", count: 1)
        await #expect(throws: Refused.self) { try await threads.run { throw Refused() } }
        await threads.stopped()
    }

    @Test func `as many jobs run at once as there are threads`() async throws {
        let threads = IOThreads(name: "io", count: 3)
        let inside = Condition(0)
        // Each job waits for the other two: with fewer threads none of them would end in time.
        let all = try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    try await threads.run {
                        inside.update { $0 += 1 }
                        return inside.wait(timeout: .seconds(20)) { $0 == 3 ? true : nil } ?? false
                    }
                }
            }
            return try await group.reduce(true) { $0 && $1 }
        }
        #expect(all)
        await threads.stopped()
    }

    @Test func `jobs of one thread run in the order they were handed in`() {
        let threads = IOThreads(name: "io", count: 1)
        let order = Lock<[Int]>([])
        for number in 0..<100 { threads.submit { order.withLock { $0.append(number) } } }
        threads.stop()
        #expect(order.withLock { $0 } == Array(0..<100))
    }

    @Test func `stop finishes what was accepted and refuses what comes later`() async {
        let threads = IOThreads(name: "io", count: 2)
        let gate = Condition(false)
        let done = Lock(0)
        for _ in 0..<10 {
            threads.submit {
                _ = gate.wait { $0 ? true : nil }
                done.withLock { $0 += 1 }
            }
        }
        #expect(threads.backlog > 0)
        async let stopped: Void = threads.stopped()
        gate.update { $0 = true }
        await stopped
        #expect(done.withLock { $0 } == 10)
        #expect(!threads.submit {})
        await #expect(throws: IOThreads.Stopped.self) { try await threads.run {} }
        threads.stop()
    }

    @Test func `stop on one of the threads does not wait for itself`() async throws {
        let threads = IOThreads(name: "io", count: 2)
        try await threads.run { threads.stop() }
        await threads.stopped()
    }

    @Test func `cancelling the caller neither skips nor interrupts the work`() async throws {
        let threads = IOThreads(name: "io", count: 1)
        let gate = Condition(false)
        let task = Task {
            try await threads.run {
                _ = gate.wait { $0 ? true : nil }
                return "finished"
            }
        }
        task.cancel()
        gate.update { $0 = true }
        #expect(try await task.value == "finished")
        await threads.stopped()
    }
}

@Suite struct MonotonicTimeTests {
    @Test(arguments: [
        (Duration.zero, Int64(0)), (.nanoseconds(1), 1), (.seconds(2), 2_000_000_000), (.milliseconds(-5), -5_000_000),
        (.seconds(Int64.max), Int64.max), (.seconds(Int64.min), Int64.min),
    ])
    func `a duration is cut to the nanoseconds that 64 bits hold`(duration: Duration, nanoseconds: Int64) {
        #expect(duration.wholeNanoseconds == nanoseconds)
    }

    @Test func `the clock's end is not passed`() {
        #expect((MonotonicTime(nanoseconds: .max - 1) + .seconds(1)).nanoseconds == .max)
        #expect((MonotonicTime(nanoseconds: .min + 1) + .seconds(-1)).nanoseconds == .min)
    }

    @Test func `differences have a sign`() {
        let (early, late) = (MonotonicTime(nanoseconds: 10), MonotonicTime(nanoseconds: 30))
        #expect(late - early == .nanoseconds(20))
        #expect(early - late == .nanoseconds(-20))
        #expect(early < late)
    }

    @Test func `a deadline says what is left and when it is over`() throws {
        let far = Deadline.after(.seconds(100))
        let left = try #require(far.remaining)
        #expect(left > .seconds(90) && left <= .seconds(100))
        #expect(!far.isOver)
        let past = Deadline.after(.seconds(-1))
        #expect(past.isOver)
        #expect(past.remaining == .zero)
        #expect(Deadline.never.remaining == nil)
        #expect(!Deadline.never.isOver)
    }

    @Test func `the earlier of two deadlines counts`() {
        let (near, far) = (Deadline.after(.seconds(1)), Deadline.after(.seconds(2)))
        #expect(near.capped(by: far) == near)
        #expect(far.capped(by: near) == near)
        #expect(far.capped(by: .never) == far)
        #expect(Deadline.never.capped(by: far) == far)
    }
}
