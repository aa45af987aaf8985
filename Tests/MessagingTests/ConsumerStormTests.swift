import AMQP
import Domain
import Glibc
import Lifecycle
import Messaging
import Postgres
import TestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(isFullRun ? 20 : 6)))
struct ConsumerStormTests {
    private enum Fault {
        case kill
        case freeze
        case cut
    }

    private struct Plan {
        let tasks: Int
        let each: Int
        let faults: [Fault]
        var isSlow = false
    }

    /// Consumers are killed and frozen at seeded points of progress, while doubled and reordered messages come in.
    @Test func `consumer storm: each effect once and in order, whoever is killed or frozen`() async throws {
        let (tasks, each, kills, freezes) = isFullRun ? (200, 50, 30, 10) : (60, 30, 8, 3)
        let faults = [Fault](repeating: .kill, count: kills) + [Fault](repeating: .freeze, count: freezes)
        try await storm(Plan(tasks: tasks, each: each, faults: faults), "consumer storm")
    }

    /// The same with a handler that takes its time and fails now and then, and with connections that break.
    @Test func `replica storm: slow and failing work is done once and in order, whoever dies`() async throws {
        let (tasks, each, kills, freezes, cuts) = isFullRun ? (500, 20, 30, 10, 5) : (100, 10, 4, 2, 1)
        let faults =
            [Fault](repeating: .kill, count: kills) + [Fault](repeating: .freeze, count: freezes)
            + [Fault](repeating: .cut, count: cuts)
        try await storm(Plan(tasks: tasks, each: each, faults: faults, isSlow: true), "replica storm")
    }

    private func storm(_ plan: Plan, _ name: String) async throws {
        var seed = Seed(for: name)
        let messages = Self.messages(tasks: plan.tasks, each: plan.each, &seed)
        let faults = plan.faults.shuffled(using: &seed)
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
                func start(_ name: String) throws {
                    workers[name] = try pool.start("consume", name: name, isSlow: plan.isSlow)
                }
                for name in ["one", "two", "three"] { try start(name) }
                var done = 0
                for (fault, portion) in zip(faults, portions) {
                    let middle = portion.startIndex + portion.count / 2
                    try await Self.publish(portion[..<middle], publisher)
                    done = try await Self.progress(spine, beyond: done + Int.random(in: 1...share / 4, using: &seed))
                    let name = ["one", "two", "three"].randomElement(using: &seed) ?? "one"
                    let worker = try #require(workers[name])
                    switch fault {
                    case .kill:
                        worker.signal(SIGKILL)
                        try start(name)
                        try await Self.publish(portion[middle...], publisher)
                    case .freeze:
                        try await eventually("it is connected") { Workers.isConnected(worker, toPort: port) }
                        worker.signal(SIGSTOP)
                        try await Self.publish(portion[middle...], publisher)
                        try await eventually("the broker gives it up") { !Workers.isConnected(worker, toPort: port) }
                        try await eventually("another does its work") { try Self.active(spine) != name }
                        worker.signal(SIGCONT)
                    case .cut:
                        try await spine.closeConnections(ofWorkers: true)
                        try await Self.publish(portion[middle...], publisher)
                    }
                }
                try await Self.publish(portions[faults.count], publisher)
                _ = try await Self.progress(spine, beyond: plan.tasks * plan.each)
                try await eventually("nothing is parked") { try spine.parked() == 0 }
                try await eventually("who died is a member no more") {
                    try spine.count("SELECT count(*) FROM consumer_members") == 3
                }
                try await pool.stop(Array(workers.values))
            }
            await publisher.close()
            #expect(try spine.count("SELECT count(*) FROM spine_effects") == plan.tasks * plan.each)
            #expect(try spine.count("SELECT count(DISTINCT worker) FROM spine_effects") == 3)
            try await spine.expectWholeAndOrdered()
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
