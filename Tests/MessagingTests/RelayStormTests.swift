import AMQP
import Domain
import Glibc
import Lifecycle
import Messaging
import Postgres
import Store
import TestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(6)))
struct RelayStormTests {
    private enum Fault {
        case kill
        case freeze
        case disconnect
    }

    /// The owner is broken mid-batch at seeded points; a standby takes over before anybody replaces it.
    @Test func `relay storm: nothing is lost and the order of each task stands, with a snapshot open`() async throws {
        let (kills, freezes, cuts) = isFullRun ? (12, 6, 6) : (4, 2, 2)
        var seed = Seed(for: "relay storm")
        let faults =
            ([Fault](repeating: .kill, count: kills) + [Fault](repeating: .freeze, count: freezes)
            + [Fault](repeating: .disconnect, count: cuts)).shuffled(using: &seed)
        let random = seed
        try await Spine.with { spine in
            var seed = random
            let writer = try spine.connection()
            let tasks = try (0..<20).map { _ in try spine.submit(writer) }
            let dump = try Connection(
                try PostgresConfig(url: spine.database, applicationName: "dump", idleInTransactionTimeout: .zero))
            try dump.execute(script: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM outbox")
            let arrived = try await Deliveries(spine, queues: TaskStream.events.queues)
            var appended = tasks.count
            try await Workers.with(spine) { pool in
                var workers: [String: ChildProcess] = [:]
                workers["relay-0"] = try pool.start("relay", name: "relay-0")
                _ = try await Self.owner(spine, among: ["relay-0"])
                workers["relay-1"] = try pool.start("relay", name: "relay-1")
                for fault in faults {
                    let names = Set(workers.keys)
                    let owner = try await Self.owner(spine, among: names)
                    appended += try Self.append(15, tasks, writer)
                    let goal = appended - Int.random(in: 20...280, using: &seed)
                    try await eventually("the owner is in the middle") { arrived.total >= goal }
                    switch fault {
                    case .kill:
                        workers[owner]?.signal(SIGKILL)
                        _ = try await Self.owner(spine, among: names.subtracting([owner]))
                        workers[owner] = try pool.start("relay", name: owner)
                    case .freeze:
                        workers[owner]?.signal(SIGSTOP)
                        _ = try await Self.owner(spine, among: names.subtracting([owner]))
                        try await eventually("the standby does the rest") { arrived.total == appended }
                        workers[owner]?.signal(SIGCONT)
                    case .disconnect:
                        try await spine.closeConnections(ofWorkers: true)
                    }
                }
                appended += try Self.append(15, tasks, writer)
                try await eventually("all has arrived") { arrived.total == appended }
                try await eventually("the outbox is empty") {
                    try spine.count("SELECT count(*) FROM outbox WHERE stream = 'events'") == 0
                }
                try await pool.stop(Array(workers.values))
            }
            for task in tasks {
                let written: Int64 = try writer.query("SELECT seq FROM task_heads WHERE task_id = \(task.rawValue)")
                    .only().get("seq")
                #expect(arrived.last(task) == written)
            }
            #expect(arrived.ahead.isEmpty)
            try dump.execute(script: "COMMIT")
            await arrived.stop()
        }
    }

    /// Appends so many events to each task in one transaction. Returns how many in all.
    private static func append(_ each: Int, _ tasks: [TaskID], _ connection: Connection) throws -> Int {
        try connection.query(
            """
            SELECT append_event(task, 1, 'agent_turn', '{}') FROM generate_series(1, \(each)) AS round,
                unnest(\(tasks.map(\.rawValue).sorted())::text[]) AS task
            """)
        return each * tasks.count
    }

    /// Waits until those names hold every shard, and returns who holds most. Postgres says who holds them.
    private static func owner(_ spine: Spine, among names: Set<String>) async throws -> String {
        try await eventually("\(names.sorted()) own every shard") {
            let rows = try spine.connection().query(
                """
                SELECT application_name, count(*) AS shards FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE locktype = 'advisory' AND granted AND datname = current_database() GROUP BY 1
                """)
            let holders = try rows.map { row in
                (name: try row.get("application_name", as: String.self), shards: try row.get("shards", as: Int.self))
            }.filter { names.contains($0.name) }
            guard holders.reduce(0, { $0 + $1.shards }) == OutboxStore.shards else { return nil }
            return holders.max { $0.shards < $1.shards }?.name
        }
    }
}
