import Config
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Reconciler

@Suite struct PlatformGaugesTests {
    @Test func `the platform is told after a look and not before it`() async throws {
        try await Self.with { pool, metrics, gauges in
            #expect(!metrics.exposition().contains("\nbgagent_tasks{"))
            try await gauges.runOnce()
            let text = metrics.exposition()
            for line in [
                "bgagent_tasks{status=\"QUEUED\"} 0", "bgagent_slots_used 0", "bgagent_outbox_rows 0",
                "bgagent_users{state=\"full\"} 0", "bgagent_dead_letters{consumer=\"fanout\"} 0",
                "bgagent_git_pushes_total{verdict=\"refused\"} 0",
            ] {
                #expect(text.contains("\(line)\n"), "\(line) is missing")
            }
        }
    }

    @Test func `a look that grew old tells nothing`() async throws {
        try await Self.with(freshFor: .zero) { _, metrics, gauges in
            try await gauges.runOnce()
            #expect(!metrics.exposition().contains("\nbgagent_tasks{"))
        }
    }

    @Test func `sweeps count what they did`() {
        let metrics = Metrics()
        let counts = SweepMetrics(metrics)
        #expect(metrics.exposition().contains("bgagent_stranded_total{result=\"failed\"} 0\n"))
        counts.lost(2)
        counts.swept(.init(failed: 1, expired: 2, revived: 3))
        counts.fired(5)
        let text = metrics.exposition()
        for line in [
            "bgagent_leases_lost_total 2", "bgagent_stranded_total{result=\"failed\"} 1",
            "bgagent_stranded_total{result=\"expired\"} 2", "bgagent_stranded_total{result=\"revived\"} 3",
            "bgagent_timers_fired_total 5",
        ] {
            #expect(text.contains("\(line)\n"), "\(line) is missing")
        }
    }

    private static func with(
        freshFor: Duration = .seconds(60),
        _ body: @escaping @Sendable (Pool, Metrics, PlatformGauges) async throws -> Void
    ) async throws {
        try await withScratchDatabase { url in
            let config = try PostgresConfig(url: url, applicationName: "reconciler-tests")
            _ = try Migrator.run(on: Connection(config))
            let pool = Pool(config, size: 1)
            let metrics = Metrics()
            let gauges = PlatformGauges(
                pool: pool, userSlots: 3, nodeSilence: 30, freshFor: freshFor, metrics: metrics)
            try await body(pool, metrics, gauges)
            await pool.close()
        }
    }
}
