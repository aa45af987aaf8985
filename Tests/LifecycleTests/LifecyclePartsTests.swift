import Lifecycle
import Telemetry
import TestSupport
import Testing

@Suite struct BackoffTests {
    @Test(arguments: [
        (1, 0.5, Duration.milliseconds(100)), (2, 0.5, .milliseconds(200)), (5, 0.5, .milliseconds(1600)),
        (9, 0.5, .milliseconds(25_600)), (10, 0.5, .seconds(30)), (1_000_000, 0.5, .seconds(30)),
        (1, 0, .milliseconds(90)), (1, 1, .milliseconds(110)), (20, 1, .seconds(33)), (0, 0.5, .milliseconds(100)),
        (1, 7, .milliseconds(110)),
    ])
    func `the wait grows to its cap and strays by its jitter`(failures: Int, random: Double, wait: Duration) {
        let delay = Backoff().delay(afterFailures: failures, random: random)
        #expect(abs((delay - wait).inSeconds) < 1e-6)
    }

    @Test func `a random wait stays within the jitter`() {
        for _ in 0..<1000 {
            let delay = Backoff().delay(afterFailures: 3)
            #expect(delay >= .milliseconds(360) && delay <= .milliseconds(440))
        }
    }
}

@Suite struct RetryingTests {
    private struct Refused: Error {}

    @Test func `it tries until it works, with growing waits`() async throws {
        let clock = ManualClock()
        let log = CapturingLog()
        let tries = Lock(0)
        async let result = retrying("connect", clock: clock, log: log.logger) {
            try tries.withLock {
                $0 += 1
                if $0 < 4 { throw Refused() }
            }
            return "connected"
        }
        for wait in [100, 200, 400] {
            try await eventually("it waits") { clock.sleepers == 1 }
            let next = try #require(clock.nextWakeUp)
            #expect(abs((next - .milliseconds(wait)).inSeconds) <= Double(wait) / 1000 * 0.1001)
            clock.advance(by: .milliseconds(wait * 2))
        }
        #expect(try await result == "connected")
        #expect(log.lines.count == 3 && log.contains("could not connect", "Refused", "\"failures\":3"))
    }

    @Test func `an error that no try can mend is thrown at once`() async {
        await #expect(throws: Refused.self) {
            try await retrying("connect", log: .silent, isFinal: { $0 is Refused }) { throw Refused() }
        }
    }

    @Test func `cancelling ends the waiting`() async throws {
        let clock = ManualClock()
        let task = Task { try await retrying("connect", clock: clock, log: .silent) { throw Refused() } }
        try await eventually("it waits") { clock.sleepers == 1 }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }
}

@Suite struct PeriodicallyTests {
    @Test func `the body runs at once and then at the pace of the clock`() async throws {
        let clock = ManualClock()
        let passes = Lock(0)
        let task = Task {
            try await periodically(every: .seconds(5), clock: clock) { passes.withLock { $0 += 1 } }
        }
        for pass in 1...3 {
            try await eventually("pass \(pass) is over") { clock.sleepers == 1 }
            #expect(passes.withLock { $0 } == pass)
            clock.advance(by: .seconds(5))
        }
        task.cancel()
        try await task.value
    }

    @Test func `an error of the body ends it`() async {
        struct Refused: Error {}
        await #expect(throws: Refused.self) {
            try await periodically(every: .seconds(1)) { throw Refused() }
        }
    }

    @Test func `a sweep that fails is logged and comes again`() async throws {
        struct Refused: Error {}
        let log = CapturingLog()
        let passes = TestSignal<Void>()
        let sweep = Periodic("sweep", every: .milliseconds(1), log: log.logger) {
            passes.send()
            throw Refused()
        }
        let task = Task { try await sweep.run() }
        for _ in 0..<3 { try await passes.wait() }
        task.cancel()
        try await task.value
        #expect(log.contains("sweep failed", "Refused"))
    }
}

@Suite struct ReadinessTests {
    @Test func `a process is ready when no flag is down`() {
        let readiness = Readiness()
        #expect(readiness.isReady)
        readiness.set("postgres", false)
        readiness.set("amqp", true)
        #expect(!readiness.isReady && readiness.missing == ["postgres"])
        readiness.set("postgres", true)
        #expect(readiness.isReady && readiness.missing.isEmpty)
        #expect(readiness.all.map(\.name) == ["amqp", "postgres"])
    }
}

@Suite struct UntilCancelledTests {
    @Test func `it returns when its task was cancelled before`() async {
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            await untilCancelled()
            return true
        }
        #expect(await task.value)
    }
}
