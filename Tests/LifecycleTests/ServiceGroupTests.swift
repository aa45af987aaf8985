import Glibc
import Lifecycle
import Telemetry
import TestSupport
import Testing

@Suite struct ServiceGroupTests {
    private struct Broken: Error, CustomStringConvertible {
        let description = "broken beyond repair"
    }

    private let log = CapturingLog()
    private let order = Lock<[String]>([])

    /// A service that tells when it starts and stops.
    private func service(_ name: String, started: TestSignal<String>) -> any Service {
        let order = order
        return ServiceTask(name) {
            started.send(name)
            await untilCancelled()
            order.withLock { $0.append(name) }
        }
    }

    @Test func `stopping goes through the services in reverse order`() async throws {
        let started = TestSignal<String>()
        let group = ServiceGroup(["pool", "broker", "worker"].map { service($0, started: started) }, log: log.logger)
        async let code = group.run()
        for _ in 0..<3 { try await started.wait() }
        group.stop()
        #expect(await code == 0)
        #expect(order.withLock { $0 } == ["worker", "broker", "pool"])
    }

    @Test func `a service stops only after those that use it have ended`() async throws {
        let started = TestSignal<String>()
        let gate = TestSignal<Void>()
        let order = order
        let slow = ServiceTask("worker") {
            started.send("worker")
            await untilCancelled()
            order.withLock { $0.append("worker was asked to stop") }
            // Not the cancelled task itself: its own sleep would be over at once.
            try await Task.detached { try await gate.wait() }.value
            order.withLock { $0.append("worker") }
        }
        let group = ServiceGroup([service("pool", started: started), slow], log: log.logger)
        async let code = group.run()
        for _ in 0..<2 { try await started.wait() }
        group.stop()
        try await eventually("the worker drains") { order.withLock { $0 } == ["worker was asked to stop"] }
        gate.send()
        #expect(await code == 0)
        #expect(order.withLock { $0 } == ["worker was asked to stop", "worker", "pool"])
    }

    @Test func `a service that throws stops the others and fails the process`() async {
        let started = TestSignal<String>()
        let failing = ServiceTask("failing") { throw Broken() }
        let group = ServiceGroup(
            [service("a", started: started), failing, service("b", started: started)], log: log.logger)
        #expect(await group.run() == 1)
        #expect(order.withLock { $0 } == ["b", "a"])
        #expect(log.contains("ended on its own", "failing", "broken beyond repair", "\"error\""))
    }

    @Test func `a service that returns by itself fails the process`() async {
        let group = ServiceGroup([ServiceTask("brief") {}], log: log.logger)
        #expect(await group.run() == 1)
        #expect(log.contains("ended on its own", "brief", "it returned"))
    }

    @Test func `an error after the stop was asked for is no failure`() async throws {
        let started = TestSignal<Void>()
        let service = ServiceTask("cancelled") {
            started.send()
            try await ContinuousClock().sleep(for: .seconds(3600))
        }
        let group = ServiceGroup([service], log: log.logger)
        async let code = group.run()
        try await started.wait()
        group.stop()
        #expect(await code == 0)
    }

    @Test func `stop before run and stop twice end the group once`() async {
        let started = TestSignal<String>()
        let group = ServiceGroup([service("a", started: started)], log: log.logger)
        group.stop()
        group.stop()
        #expect(await group.run() == 0)
        #expect(order.withLock { $0 } == ["a"])
    }

    @Test func `a service that ignores its cancellation is given up`() async throws {
        let release = TestSignal<Void>()
        let started = TestSignal<Void>()
        let stuck = ServiceTask("stuck") {
            started.send()
            try await Task.detached { try await release.wait() }.value
        }
        let other = TestSignal<String>()
        let patience = ServiceGroup.Patience(drain: .milliseconds(50), giveUp: .milliseconds(500))
        let group = ServiceGroup([service("first", started: other), stuck], log: log.logger, patience: patience)
        async let code = group.run()
        try await started.wait()
        try await other.wait()
        group.stop()
        #expect(await code == 1)
        #expect(log.contains("gave up", "stuck"))
        // Once draining has taken too long the order no longer counts: the service before the stuck one stops too.
        try await eventually("the first has stopped") { order.withLock { $0 } == ["first"] }
        release.send()
    }

    @Test func `readiness falls as soon as stopping begins`() async throws {
        let readiness = Readiness()
        let started = TestSignal<Void>()
        let seen = Lock<[Bool]>([])
        let service = ServiceTask("a") {
            seen.withLock { $0.append(readiness.isReady) }
            started.send()
            await untilCancelled()
            seen.withLock { $0.append(readiness.isReady) }
        }
        let group = ServiceGroup([service], readiness: readiness, log: log.logger)
        async let code = group.run()
        try await started.wait()
        group.stop()
        #expect(await code == 0)
        #expect(seen.withLock { $0 } == [true, false])
    }

    @Test func `groups that start and stop over and over leave nothing behind`() async {
        for round in 0..<200 {
            let started = TestSignal<String>()
            let group = ServiceGroup((0..<5).map { service("\($0)", started: started) }, log: .silent)
            async let code = group.run()
            if round % 3 == 0 { await Task.yield() }
            group.stop()
            #expect(await code == 0)
        }
        #expect(order.withLock { $0.count } == 1000)
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func `a signal ends the process with 0`(number: Int32) async {
        await #expect(processExitsWith: .exitCode(0)) { [number] in
            let service = ServiceTask("a") {
                kill(getpid(), number)
                await untilCancelled()
            }
            await ServiceGroup([service], log: .silent).runAndExit()
        }
    }

    @Test func `a failing service ends the process with 1`() async {
        await #expect(processExitsWith: .exitCode(1)) {
            await ServiceGroup([ServiceTask("brief") {}], log: .silent).runAndExit()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `services that block every thread of the pool do not outlive the patience`() async {
        await #expect(processExitsWith: .exitCode(1)) {
            let blocking = (0..<16).map { number in
                ServiceTask("blocking-\(number)") {
                    kill(getpid(), SIGTERM)
                    _ = Condition(false).wait { $0 ? true : nil }
                }
            }
            let patience = ServiceGroup.Patience(drain: .milliseconds(50), giveUp: .milliseconds(100))
            await ServiceGroup(blocking, log: .silent, patience: patience).runAndExit()
        }
    }
}
