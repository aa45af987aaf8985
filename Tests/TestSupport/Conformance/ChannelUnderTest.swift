import Domain
import Lifecycle
import Notifications
import Store
import Telemetry
import Testing

/// A channel and the other side of it, as the conformance suite needs them.
package protocol ChannelUnderTest: Sendable {
    associatedtype Channel: NotificationChannel
    /// The channel as its dispatcher makes it, talking to the simulator.
    func makeChannel() throws -> Channel
    /// A target that the simulator knows.
    var target: String { get }
    /// False for a channel that cannot tell whether a send happened.
    var canLookUp: Bool { get }
    /// True when the other side can say how long to wait.
    var namesWaitingTime: Bool { get }
    /// What arrived of a task, oldest first: the ids of the notifications, or of a message that is edited in place, the
    /// one name of it.
    func arrived(_ task: TaskID) async throws -> [String]
    /// The next send does its work and is never answered.
    func orderLateCommit() async throws
    /// The next send reaches nobody, and is never answered.
    func orderDrop() async throws
    /// The next send is refused for now, for so many seconds where the channel has a way to say so.
    func orderBusy(retryAfter: Int) async throws
    /// The next send is refused for good.
    func orderRefusal() async throws
}

extension ChannelUnderTest {
    package var namesWaitingTime: Bool { true }
}

/// A channel at work on a ledger, driven by hand: no broker, no clock.
package struct ChannelBench<Subject: ChannelUnderTest>: Sendable {
    package let subject: Subject
    package let fixture: LedgerFixture
    package let channel: Subject.Channel
    package let engine: LaneEngine<Subject.Channel>
    package let settings: DispatcherSettings
    private let pass: LedgerPass<Subject.Channel>

    package init(_ subject: Subject, _ fixture: LedgerFixture) throws {
        var settings = DispatcherSettings()
        settings.settle = .zero
        settings.retry = RetryPolicy(base: .milliseconds(10), cap: .milliseconds(50), maxAttempts: 20)
        let (channel, metrics) = (try subject.makeChannel(), Metrics())
        let worker = LaneWorker(channel, pool: fixture.pool, settings: settings, log: .silent, metrics: metrics)
        engine = LaneEngine(worker, width: 4, metrics: metrics)
        pass = LedgerPass(pool: fixture.pool, settings: settings, engine: engine)
        self.subject = subject
        self.fixture = fixture
        self.channel = channel
        self.settings = settings
    }

    package func plan(_ type: TaskEventType, of task: TaskID, metadata: JSONValue = [:]) async throws -> String {
        try await fixture.plan(
            type, of: task, on: Subject.Channel.name, to: subject.target, metadata: metadata)
    }

    /// One look at the ledger, and what follows from it.
    package func look() async throws {
        try await pass.runOnce()
        await engine.whenIdle()
    }

    /// Looks at the ledger until the task's notifications are in these states.
    package func work(_ task: TaskID, until states: [String]) async throws {
        let (fixture, pass, engine) = (self.fixture, self.pass, self.engine)
        try await eventually("the ledger says \(states)") { () -> Bool in
            try await pass.runOnce()
            await engine.whenIdle()
            let found = try await fixture.states(task)
            if found != states { throw Unexpected(description: "\(try await fixture.ledger(task))") }
            return true
        }
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }
}
