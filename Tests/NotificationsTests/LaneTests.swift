import Domain
import Lifecycle
import Notifications
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

/// One lane of a fake channel over a real ledger.
private struct LaneBench: Sendable {
    let fixture: LedgerFixture
    let outside = FakeChannel.Outside()
    let engine: LaneEngine<FakeChannel>
    let pass: LedgerPass<FakeChannel>
    let task: TaskID

    static func with(
        attempts: Int = 20, settle: Duration = .zero, retry: Duration = .zero,
        _ body: (LaneBench) async throws -> Void
    ) async throws {
        try await LedgerFixture.with { fixture in
            var settings = DispatcherSettings()
            settings.settle = settle
            settings.retry = RetryPolicy(base: retry, cap: retry, maxAttempts: attempts)
            try await body(LaneBench(fixture, settings, try await fixture.submit()))
        }
    }

    private init(_ fixture: LedgerFixture, _ settings: DispatcherSettings, _ task: TaskID) {
        let worker = LaneWorker(
            FakeChannel(outside), pool: fixture.pool, settings: settings, log: .silent, metrics: Metrics())
        engine = LaneEngine(worker, width: 4, metrics: Metrics())
        pass = LedgerPass(pool: fixture.pool, settings: settings, engine: engine)
        self.fixture = fixture
        self.task = task
    }

    func plan(_ types: TaskEventType...) async throws {
        for type in types { try await fixture.plan(type, of: task, on: "fake", to: "there") }
    }

    func look() async throws {
        try await pass.runOnce()
        await engine.whenIdle()
    }

    func states() async throws -> [String] { try await fixture.states(task) }

    func claim(lease: Double = 60) async throws -> ClaimedEffect? {
        let lane = EffectLane(task: task, target: "there")
        return try await fixture.pool.run {
            try EffectStore.claim(
                lane, ClaimRules(channel: "fake", editsInPlace: false, leaseSeconds: lease), token: "other", in: $0
            ).claimed
        }
    }
}

@Suite struct LaneTests {
    @Test func `a lane is sent in order, and the state of the first goes with the next`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.prCreated, .agentError, .taskFailed)
            try await bench.look()
            #expect(bench.outside.types == ["pr_created", "agent_error", "task_failed"])
            let states = bench.outside.sent.withLock { $0.map { $0.state == nil } }
            #expect(states == [true, false, false])
            #expect(try await bench.states() == ["sent", "sent", "sent"])
        }
    }

    @Test func `what fails for now holds back what follows, and nothing overtakes it`() async throws {
        try await LaneBench.with(retry: .seconds(3600)) { bench in
            bench.outside.answers.withLock { $0 = [SendError(.unavailable, "down")] }
            try await bench.plan(.prCreated, .taskFailed)
            try await bench.look()
            try await bench.look()
            #expect(bench.outside.types.isEmpty)
            #expect(try await bench.states() == ["planned", "planned"])
        }
    }

    @Test func `milestones collapse to the newest, and what is urgent does not wait behind them`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.prCreated, .agentMilestone, .agentMilestone, .agentMilestone)
            try await bench.look()
            #expect(try await bench.states() == ["sent", "superseded", "superseded", "sent"])
            try await bench.plan(.agentMilestone, .questionAsked)
            try await bench.look()
            #expect(bench.outside.types == ["pr_created", "agent_milestone", "question_asked"])
        }
    }

    @Test func `a question overtakes a milestone that may have been sent, once the lane has its root`() async throws {
        try await LaneBench.with(settle: .seconds(3600)) { bench in
            try await bench.plan(.prCreated)
            try await bench.look()
            bench.outside.answers.withLock { $0 = [SendError(.unknown, "no answer")] }
            try await bench.plan(.agentMilestone)
            try await bench.look()
            try await bench.plan(.sessionStarted)
            try await bench.look()
            #expect(try await bench.states() == ["sent", "unknown", "planned"])
            try await bench.plan(.approvalRequired)
            try await bench.look()
            #expect(try await bench.states() == ["sent", "unknown", "planned", "planned"])
        }
        try await LaneBench.with(settle: .seconds(3600)) { bench in
            try await bench.plan(.prCreated)
            try await bench.look()
            bench.outside.answers.withLock { $0 = [SendError(.unknown, "no answer")] }
            try await bench.plan(.agentMilestone)
            try await bench.look()
            try await bench.plan(.approvalRequired)
            try await bench.look()
            #expect(try await bench.states() == ["sent", "unknown", "sent"])
        }
    }

    @Test func `a root that may have been sent holds everything back, so that there is never a second`() async throws {
        try await LaneBench.with(settle: .seconds(3600)) { bench in
            bench.outside.answers.withLock { $0 = [SendError(.unknown, "no answer")] }
            try await bench.plan(.agentMilestone, .sessionStarted)
            try await bench.look()
            try await bench.plan(.taskFailed)
            try await bench.look()
            #expect(try await bench.states() == ["unknown", "planned", "planned"])
        }
    }

    @Test func `what may have happened is looked up, and sent again only where it surely did not`() async throws {
        try await LaneBench.with { bench in
            bench.outside.lookUp.withLock { $0 = .found(Receipt(externalRef: "there already")) }
            bench.outside.answers.withLock { $0 = [SendError(.unknown, "no answer")] }
            try await bench.plan(.taskFailed)
            try await bench.look()
            try await bench.look()
            #expect(bench.outside.types.isEmpty)
            #expect(try await bench.fixture.ledger(bench.task).first?.externalRef == "there already")
        }
    }

    @Test func `a look-up waits for the settle time`() async throws {
        try await LaneBench.with(settle: .seconds(3600)) { bench in
            bench.outside.answers.withLock { $0 = [SendError(.unknown, "no answer")] }
            try await bench.plan(.taskFailed)
            try await bench.look()
            try await bench.look()
            #expect(try await bench.states() == ["unknown"])
            #expect(try await bench.fixture.ledger(bench.task).first?.attempts == 1)
        }
    }

    @Test func `what fails too often is given up with its last error`() async throws {
        try await LaneBench.with(attempts: 3) { bench in
            bench.outside.answers.withLock { $0 = Array(repeating: SendError(.unavailable, "down"), count: 5) }
            try await bench.plan(.taskFailed)
            for _ in 0..<5 { try await bench.look() }
            let entry = try #require(try await bench.fixture.ledger(bench.task).first)
            #expect(entry.state == "dead")
            #expect(entry.attempts == 3)
            #expect(entry.lastError == "down")
        }
    }

    @Test func `a claim shuts everybody else out until it runs out`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.taskFailed)
            #expect(try await bench.claim() != nil)
            #expect(try await bench.claim() == nil)
            try await bench.look()
            #expect(bench.outside.types.isEmpty)
            try await bench.fixture.pool.run { connection in
                try connection.query("UPDATE effects SET claim_until = now() - interval '1 s'")
            }
            try await bench.look()
            #expect(bench.outside.types == ["task_failed"])
        }
    }

    @Test func `many at one lane send each notification once and in order`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.prCreated, .agentError, .statusResponse, .budgetExhausted, .taskFailed)
            let worker = LaneWorker(
                FakeChannel(bench.outside), pool: bench.fixture.pool, log: .silent, metrics: Metrics())
            let lane = EffectLane(task: bench.task, target: "there")
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<8 { group.addTask { await worker.run(lane) } }
            }
            try await bench.look()
            #expect(
                bench.outside.types == [
                    "pr_created", "agent_error", "status_response", "budget_exhausted", "task_failed",
                ])
        }
    }

    @Test func `a process that lost its claim while it sent marks nothing`() async throws {
        try await LaneBench.with { bench in
            let pool = bench.fixture.pool
            bench.outside.during.withLock { during in
                during = { delivery in
                    // What the others see when this one was frozen for longer than its lease.
                    _ = try? await pool.run { connection in
                        try connection.query(
                            "UPDATE effects SET claim_token = 'other' WHERE effect_id = \(delivery.effectID)")
                    }
                }
            }
            try await bench.plan(.taskFailed)
            try await bench.look()
            #expect(try await bench.states() == ["sending"])
            let states = try await pool.run { try $0.query("SELECT FROM channel_state").count }
            #expect(states == 0)
        }
    }

    @Test func `a payload that cannot be read ends alone`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.prCreated, .taskFailed)
            try await bench.fixture.pool.run { connection in
                try connection.query("UPDATE effects SET payload = '{}' WHERE event_type = 'pr_created'")
            }
            try await bench.look()
            #expect(try await bench.states() == ["dead", "sent"])
        }
    }

    @Test func `a claim looks at its own task alone, though the ledger was empty when it was planned`() async throws {
        try await LaneBench.with { bench in
            try await bench.plan(.taskFailed)
            let others = [try await bench.fixture.submit(), try await bench.fixture.submit()].map(\.rawValue)
            @Sendable func read(_ connection: Connection) throws -> Int {
                try connection.query(
                    """
                    SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) AS seen FROM pg_stat_xact_user_tables
                    WHERE relname = 'effects'
                    """
                ).only().get("seen", as: Int.self)
            }
            try await bench.fixture.pool.run { connection in
                try connection.query("ANALYZE effects")
                let elsewhere = EffectLane(task: bench.task, target: "elsewhere")
                let rules = ClaimRules(channel: "fake", editsInPlace: false, leaseSeconds: 60)
                // By now the session has chosen a plan for good.
                for _ in 1...10 { _ = try EffectStore.claim(elsewhere, rules, token: "t", in: connection) }
                try connection.query(
                    """
                    INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload)
                    SELECT t || n, t, 'fake', 'there', 'agent_error', '{}'
                    FROM unnest(\(others)) AS t, generate_series(1, 3000) AS n
                    """)
                let lane = EffectLane(task: bench.task, target: "there")
                let before = try read(connection)
                #expect(try EffectStore.claim(lane, rules, token: "t", in: connection).claimed != nil)
                let seen = try read(connection) - before
                #expect(seen < 50)
            }
        }
    }
}
