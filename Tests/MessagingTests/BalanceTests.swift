import AMQP
import Domain
import Lifecycle
import Messaging
import Postgres
import Telemetry
import TestSupport
import Testing
import Threads

/// Several consumers of one name in this process, which look at each other all the time.
@Suite(.serialized, .timeLimit(.minutes(6)))
struct BalanceTests {
    private struct Replica {
        let running: Running
        let readiness: Readiness
        let metrics: Metrics

        func tells(_ metric: String, _ value: Int, of consumer: String = "test") -> Bool {
            metrics.exposition().contains("bgagent_consumer_\(metric){consumer=\"\(consumer)\"} \(value)\n")
        }
    }

    /// Runs so many replicas, named `r0`, `r1` …, while `body` runs.
    private func withReplicas(
        _ count: Int, _ spine: Spine, _ handle: @escaping @Sendable (String, Message, Step) async throws -> Outcome,
        _ body: ([Replica]) async throws -> Void
    ) async throws {
        var replicas: [Replica] = []
        var failure: (any Error)?
        do {
            for index in 0..<count {
                let (readiness, metrics) = (Readiness(), Metrics())
                let handler = Scripted { try await handle("r\(index)", $0, $1) }
                let running = try spine.consumer(handler, readiness: readiness, metrics: metrics)
                replicas.append(Replica(running: running, readiness: readiness, metrics: metrics))
            }
            try await body(replicas)
        } catch {
            failure = error
        }
        for replica in replicas { await replica.running.stop() }
        if let failure { throw failure }
    }

    private func withReplicas(
        _ count: Int, _ spine: Spine, _ body: ([Replica]) async throws -> Void
    ) async throws {
        try await withReplicas(
            count, spine, { name, message, step in try await step.record(message, by: name) }, body)
    }

    @Test func `of ten replicas eight have a partition each, and the others are ready to take over`() async throws {
        try await Spine.with { spine in
            try await withReplicas(10, spine) { replicas in
                try await Trickle.with(spine) { _ in
                    try await eventually("eight share the work") { try spine.isShared(by: 8, since: "-500 ms") }
                    try await eventually("all know of each other") {
                        replicas.allSatisfy { $0.readiness.isReady && $0.tells("members", 10) }
                    }
                    try await eventually("two stand by") {
                        replicas.filter { $0.tells("partitions_owned", 1) }.count == 8
                            && replicas.filter { $0.tells("partitions_owned", 0) }.count == 2
                    }
                    // A standby takes the place of one that leaves.
                    replicas[0].running.cancel()
                    try await eventually("eight of the nine share the work") {
                        try spine.isShared(by: 8, since: "-500 ms")
                            && spine.count("SELECT count(*) FROM consumer_members") == 9
                    }
                }
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `while the database is away nobody moves`() async throws {
        try await Spine.with { spine in
            let server = try ScratchDatabase.server()
            let name: String = try spine.connection().query("SELECT current_database()::text").only().get(0)
            try await withReplicas(3, spine) { replicas in
                try await Trickle.with(spine) { _ in
                    try await eventually("three share the work, and the plan stands") {
                        try spine.isShared(by: 3, since: "-500 ms")
                            && replicas.filter { $0.tells("partitions_owned", 3) }.count == 2
                            && replicas.filter { $0.tells("partitions_owned", 2) }.count == 1
                    }
                    let before = try Self.members(spine)
                    let changes = replicas.map { Self.rebalances($0.metrics) }
                    // On a busy machine half a second is too short for every queue to have had a message.
                    var queues: [String] = []
                    try await eventually("every queue has had a message") {
                        queues = try Self.owners(spine)
                        return queues.count == 8
                    }
                    let admin = try Connection(try PostgresConfig(url: server, applicationName: "tests"))
                    try admin.query("ALTER DATABASE \(identifier: name) WITH ALLOW_CONNECTIONS false")
                    try admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \(name)")
                    let until = MonotonicTime.now + Spine.quick.memberLease * 2
                    try await eventually("two leases pass") { MonotonicTime.now > until }
                    try admin.query("ALTER DATABASE \(identifier: name) WITH ALLOW_CONNECTIONS true")
                    try await eventually("work goes on") { try spine.isShared(by: 3, since: "-500 ms") }
                    #expect(try Self.members(spine) == before)
                    try await eventually("every queue is where it was") { try Self.owners(spine) == queues }
                    #expect(replicas.map { Self.rebalances($0.metrics) } == changes)
                }
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `members whose rows were deleted are members again, and share the work as before`() async throws {
        try await Spine.with { spine in
            try await withReplicas(3, spine) { _ in
                try await Trickle.with(spine) { _ in
                    for _ in 0..<3 {
                        try await eventually("three share the work") { try spine.isShared(by: 3, since: "-500 ms") }
                        try spine.connection().query("DELETE FROM consumer_members")
                        try await eventually("they are back") {
                            try spine.count("SELECT count(*) FROM consumer_members") == 3
                        }
                    }
                    try await eventually("three share the work") { try spine.isShared(by: 3, since: "-500 ms") }
                }
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `a message that waits comes back to the owner of its partition`() async throws {
        try await Spine.with { spine in
            let first = Lock<[TaskID: String]>([:])
            try await withReplicas(2, spine) { name, message, step in
                if message.type == "twice", first.withLock({ $0.updateValue(name, forKey: message.taskID) }) == nil {
                    return .snooze(for: .milliseconds(30), reason: "the first time")
                }
                return try await step.record(message, by: name)
            } _: { _ in
                try await Trickle.with(spine, beside: 40) { _ in
                    try await eventually("two share the work") { try spine.isShared(by: 2, since: "-500 ms") }
                    try await eventually("each holds the locks of its partitions") { try Self.locks(spine) == [4, 4] }
                    let tasks = (0..<40).map { _ in Spine.task() }
                    try await spine.publish(tasks.map { Spine.message($0, 1, type: "twice") })
                    for task in tasks { try await eventually("it is done") { try spine.effects(of: task) == [1] } }
                    let done = try spine.connection().query(
                        "SELECT task_id, worker FROM spine_effects WHERE task_id = ANY(\(tasks.map(\.rawValue)))"
                    ).reduce(into: [String: String]()) { done, row in
                        done[try row.get("task_id", as: String.self)] = try row.get("worker", as: String.self)
                    }
                    for task in tasks { #expect(done[task.rawValue] == first.withLock { $0[task] }) }
                    #expect(Set(done.values).count == 2)
                }
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `consumers of different names each have all partitions of their stream`() async throws {
        try await Spine.with { spine in
            let (commands, events) = (Metrics(), Metrics())
            var other = Scripted { message, step in try await step.record(message) }
            let same = other
            other.consumer = "other"
            try await spine.withRunning(try spine.consumer(same, metrics: commands)) { _ in
                try await spine.withRunning(try spine.consumer(of: .events, other, metrics: events)) { _ in
                    try await eventually("each owns eight") {
                        commands.exposition().contains(#"bgagent_consumer_partitions_owned{consumer="test"} 8"#)
                            && events.exposition().contains(#"bgagent_consumer_partitions_owned{consumer="other"} 8"#)
                    }
                }
            }
        }
    }

    private static func members(_ spine: Spine) throws -> [String] {
        try spine.connection().query("SELECT member_id FROM consumer_members ORDER BY joined").map {
            try $0.get("member_id")
        }
    }

    /// Who serves which partition now.
    private static func owners(_ spine: Spine) throws -> [String] {
        try spine.connection().query(
            """
            SELECT DISTINCT queue || ' ' || worker AS pair FROM spine_effects
            WHERE at > clock_timestamp() - interval '500 ms' ORDER BY pair
            """
        ).map { try $0.get("pair") }
    }

    /// How many advisory locks each session holds.
    private static func locks(_ spine: Spine) throws -> [Int] {
        try spine.connection().query(
            """
            SELECT count(*) AS locks FROM pg_locks
            WHERE locktype = 'advisory' AND granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            GROUP BY pid ORDER BY pid
            """
        ).map { Int(try $0.get("locks", as: Int64.self)) }
    }

    private static func rebalances(_ metrics: Metrics) -> String? {
        metrics.exposition().split(separator: "\n").first { $0.hasPrefix("bgagent_consumer_rebalances_total{") }
            .map(String.init)
    }
}
