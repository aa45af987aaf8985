import Domain
import Notifications
import Postgres
import Store
import Testing

/// The rules that every channel keeps. Each channel's tests run all of them against its simulator.
package enum ChannelRule: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case tellsInOrder
    case findsALateCommit
    case sendsAgainWhatWasLost
    case waitsAsItIsTold
    case goesOnAfterARefusal
    case survivesACrashBetweenSendAndMark
    case ignoresAZombie
    case leavesOneTrace

    package var testDescription: String { rawValue }

    /// Holds one channel to this rule, in a database of its own.
    package func hold(_ subject: some ChannelUnderTest) async throws {
        try await LedgerFixture.with { fixture in
            let bench = try ChannelBench(subject, fixture)
            let task = try await fixture.submit()
            switch self {
            case .tellsInOrder: try await tellsInOrder(bench, task)
            case .findsALateCommit: try await findsALateCommit(bench, task)
            case .sendsAgainWhatWasLost: try await sendsAgainWhatWasLost(bench, task)
            case .waitsAsItIsTold: try await waitsAsItIsTold(bench, task)
            case .goesOnAfterARefusal: try await goesOnAfterARefusal(bench, task)
            case .survivesACrashBetweenSendAndMark: try await survivesACrash(bench, task)
            case .ignoresAZombie: try await ignoresAZombie(bench, task)
            case .leavesOneTrace: try await leavesOneTrace(bench, task)
            }
        }
    }

    /// What is planned one after the other arrives in that order, each once; what is edited in place shows the newest.
    private func tellsInOrder<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        let ids = [
            try await bench.plan(.prCreated, of: task), try await bench.plan(.agentError, of: task),
            try await bench.plan(.taskCompleted, of: task),
        ]
        if S.Channel.editsInPlace {
            try await bench.work(task, until: ["superseded", "superseded", "sent"])
            #expect(try await bench.subject.arrived(task).count == 1)
        } else {
            try await bench.work(task, until: ["sent", "sent", "sent"])
            #expect(try await bench.subject.arrived(task) == ids)
        }
    }

    /// Done and never answered: found, not doubled. A channel that cannot look sends it again under the same name.
    private func findsALateCommit<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        try await bench.subject.orderLateCommit()
        let first = try await bench.plan(.prCreated, of: task)
        try await bench.work(task, until: ["sent"])
        let second = try await bench.plan(.taskCompleted, of: task)
        try await bench.work(task, until: ["sent", "sent"])
        let arrived = try await bench.subject.arrived(task)
        if S.Channel.editsInPlace {
            #expect(arrived.count == 1)
        } else {
            #expect(arrived == (bench.subject.canLookUp ? [first, second] : [first, first, second]))
        }
    }

    /// Never done and never answered: looked for, not found, sent again.
    private func sendsAgainWhatWasLost<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        try await bench.subject.orderDrop()
        _ = try await bench.plan(.taskFailed, of: task)
        try await bench.work(task, until: ["sent"])
        #expect(try await bench.subject.arrived(task).count == 1)
        #expect(try await bench.fixture.ledger(task).first?.attempts == 2)
    }

    /// Too fast: not before the time that the other side named, and it costs no try.
    private func waitsAsItIsTold<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        try await bench.subject.orderBusy(retryAfter: 1)
        _ = try await bench.plan(.taskFailed, of: task)
        try await bench.work(task, until: ["sent"])
        #expect(try await bench.subject.arrived(task).count == 1)
        guard bench.subject.namesWaitingTime else { return }
        #expect(try await bench.fixture.ledger(task).first?.attempts == 1)
        let waited = try await bench.fixture.pool.run { connection in
            try connection.query(
                """
                SELECT extract(epoch FROM sent_at - planned_at)::float8 AS waited FROM effects
                WHERE task_id = \(task.rawValue)
                """
            ).only().get("waited", as: Double.self)
        }
        #expect(waited >= 1)
    }

    /// Refused for good: told with its reason, and what follows is sent.
    private func goesOnAfterARefusal<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        try await bench.subject.orderRefusal()
        _ = try await bench.plan(.prCreated, of: task)
        try await bench.work(task, until: ["dead"])
        let reason = try await bench.fixture.ledger(task).first?.lastError
        #expect(reason?.isEmpty == false)
        _ = try await bench.plan(.taskCompleted, of: task)
        try await bench.work(task, until: ["dead", "sent"])
        #expect(try await bench.subject.arrived(task).count == 1)
    }

    /// The process that sent is gone before it could write it down: its claim runs out, and the send is found.
    private func survivesACrash<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        let id = try await bench.plan(.taskFailed, of: task)
        _ = try await send(try await claim(bench, task), bench, task)
        try await bench.work(task, until: ["sent"])
        let arrived = try await bench.subject.arrived(task)
        if S.Channel.editsInPlace {
            #expect(arrived.count == 1)
        } else {
            #expect(arrived == (bench.subject.canLookUp ? [id] : [id, id]))
        }
    }

    /// A process that wakes after its claim ran out can mark nothing: not sent, not dead, and no state of the lane.
    private func ignoresAZombie<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        _ = try await bench.plan(.taskFailed, of: task)
        let claimed = try await claim(bench, task)
        try await bench.work(task, until: ["sent"])
        let before = try await bench.fixture.ledger(task)
        let marks = try await bench.fixture.pool.run { connection in
            let marks: [EffectMark] = [
                .sent(claimed, externalRef: "zombie", state: ["zombie": true]), .dead(claimed, error: "zombie"),
                .unknown(claimed, settleSeconds: 0, error: "zombie"),
                .released(claimed, afterSeconds: 0, error: "zombie", counts: true),
            ]
            return try marks.map { try EffectStore.settle($0, in: connection) }
        }
        #expect(marks == [false, false, false, false])
        #expect(try await bench.fixture.ledger(task) == before)
        let zombies = try await bench.fixture.pool.run { connection in
            try connection.query("SELECT FROM channel_state WHERE state ? 'zombie'").count
        }
        #expect(zombies == 0)
    }

    /// One task leaves one place to look at: a thread, a comment; each mail names the thread.
    private func leavesOneTrace<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws {
        let types: [TaskEventType] = [.prCreated, .taskCompleted]
        for (index, type) in types.enumerated() {
            _ = try await bench.plan(type, of: task)
            try await bench.work(task, until: Array(repeating: "sent", count: index + 1))
        }
        #expect(try await bench.subject.arrived(task).count == (S.Channel.editsInPlace ? 1 : 2))
    }

    /// What another process would hold at the moment of its crash.
    private func claim<S: ChannelUnderTest>(_ bench: ChannelBench<S>, _ task: TaskID) async throws -> ClaimedEffect {
        let lane = EffectLane(task: task, target: bench.subject.target)
        let rules = ClaimRules(
            channel: S.Channel.name, editsInPlace: S.Channel.editsInPlace, leaseSeconds: 0)
        return try #require(
            try await bench.fixture.pool.run {
                try EffectStore.claim(lane, rules, token: "another process", in: $0).claimed
            })
    }

    private func send<S: ChannelUnderTest>(
        _ claimed: ClaimedEffect, _ bench: ChannelBench<S>, _ task: TaskID
    ) async throws -> Receipt {
        let notification = try JSONText.decode(TaskNotification.self, claimed.payload)
        let delivery = ChannelDelivery(
            effectID: claimed.id, taskID: task, target: bench.subject.target, state: claimed.state,
            plannedAt: claimed.plannedAt)
        return try await bench.channel.send(bench.channel.render(notification), as: delivery)
    }
}
