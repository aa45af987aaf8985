import AMQP
import Domain
import Glibc
import Lifecycle
import Messaging
import Postgres
import TestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(6)))
struct ConsumerStormTests {
    private enum Fault {
        case kill
        case freeze
    }

    /// Consumers are killed and frozen at seeded points of progress, while doubled and reordered messages come in.
    @Test func `consumer storm: each effect once and in order, whoever is killed or frozen`() async throws {
        let (tasks, each, kills, freezes) = isFullRun ? (200, 50, 30, 10) : (60, 30, 8, 3)
        var seed = Seed(for: "consumer storm")
        let messages = Self.messages(tasks: tasks, each: each, &seed)
        let faults = ([Fault](repeating: .kill, count: kills) + [Fault](repeating: .freeze, count: freezes))
            .shuffled(using: &seed)
        let share = messages.count / (faults.count + 1)
        let portions = (0...faults.count).map { index in
            messages[(index * share)..<(index == faults.count ? messages.count : (index + 1) * share)]
        }
        let random = seed
        try await Spine.with { spine in
            var seed = random
            let port = try spine.brokerPort()
            let publisher = try await AMQPConnection.open(AMQPConfig(url: spine.broker))
            try await Workers.with(spine) { pool in
                var workers: [String: ChildProcess] = [:]
                for name in ["one", "two", "three"] { workers[name] = try pool.start("consume", name: name) }
                var done = 0
                for (fault, portion) in zip(faults, portions) {
                    let middle = portion.startIndex + portion.count / 2
                    try await Self.publish(portion[..<middle], publisher)
                    done = try await Self.progress(spine, beyond: done + Int.random(in: 1...share / 4, using: &seed))
                    // One process is active for all partitions; the others are hit as well, now and then.
                    var name = try Self.active(spine)
                    if Int.random(in: 0..<4, using: &seed) == 0 {
                        name = ["one", "two", "three"].randomElement(using: &seed) ?? name
                    }
                    let worker = try #require(workers[name])
                    switch fault {
                    case .kill:
                        worker.signal(SIGKILL)
                        workers[name] = try pool.start("consume", name: name)
                        try await Self.publish(portion[middle...], publisher)
                    case .freeze:
                        try await eventually("it is connected") { Workers.isConnected(worker, toPort: port) }
                        worker.signal(SIGSTOP)
                        try await Self.publish(portion[middle...], publisher)
                        try await eventually("the broker gives it up") { !Workers.isConnected(worker, toPort: port) }
                        try await eventually("another does its work") { try Self.active(spine) != name }
                        worker.signal(SIGCONT)
                    }
                }
                try await Self.publish(portions[faults.count], publisher)
                _ = try await Self.progress(spine, beyond: tasks * each)
                try await eventually("nothing is parked") { try spine.parked() == 0 }
                try await pool.stop(Array(workers.values))
            }
            await publisher.close()
            #expect(try spine.count("SELECT count(*) FROM spine_effects") == tasks * each)
            let misplaced: Int = try spine.count(
                """
                SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY task_id ORDER BY position) AS place
                    FROM spine_effects) AS e WHERE seq <> place
                """)
            #expect(misplaced == 0)
            #expect(try spine.deadLetters() == 0)
            #expect(try await spine.depth() == 0)
        }
    }

    /// All tasks' messages, mixed: 5 % come twice, 5 % come up to five messages of their task too late.
    private static func messages(tasks: Int, each: Int, _ seed: inout Seed) -> [Publishing] {
        var placed: [(place: Double, message: Publishing)] = []
        for _ in 0..<tasks {
            let task = Spine.task(using: &seed)
            for seq in 1...each {
                var place = Double(seq) + Double.random(in: 0..<1, using: &seed)
                if Int.random(in: 0..<20, using: &seed) == 0 { place += Double.random(in: 1..<5, using: &seed) }
                let message = Spine.message(task, Int64(seq))
                placed.append((place, message))
                if Int.random(in: 0..<20, using: &seed) == 0 {
                    placed.append((place + Double.random(in: 0..<5, using: &seed), message))
                }
            }
        }
        return placed.sorted { $0.place < $1.place }.map(\.message)
    }

    /// Waits for that many effects; returns how many there are.
    private static func progress(_ spine: Spine, beyond count: Int) async throws -> Int {
        try await eventually("\(count) effects") {
            let found = try spine.count("SELECT count(*) FROM spine_effects")
            return found >= count ? found : nil
        }
    }

    private static func publish(_ messages: ArraySlice<Publishing>, _ connection: AMQPConnection) async throws {
        #expect(try await connection.publish(Array(messages)).allSatisfy { $0 == .confirmed })
    }

    /// Who wrote the last effect.
    private static func active(_ spine: Spine) throws -> String {
        try spine.connection().query("SELECT worker FROM spine_effects ORDER BY position DESC LIMIT 1").only().get(0)
    }
}
