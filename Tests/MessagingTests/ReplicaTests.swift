import AMQP
import Domain
import Glibc
import Lifecycle
import Messaging
import Postgres
import TestSupport
import Testing
import Threads

/// Three processes of one consumer, with all times as the product has them.
@Suite(.serialized, .timeLimit(.minutes(6)))
struct ReplicaTests {
    @Test func `three replicas each handle more than a fifth, and a join is balanced within five seconds`() async throws
    {
        try await Spine.with { spine in
            try await Workers.with(spine) { workers in
                var shared = 0.0
                var replicas = [try Self.start("one", workers), try Self.start("two", workers)]
                try await Trickle.with(spine) { trickle in
                    try await eventually("two share the work") { try spine.isShared(by: 2, since: "-1 s") }
                    replicas.append(try Self.start("three", workers))
                    try await eventually("the third has joined") {
                        try spine.count("SELECT count(*) FROM consumer_members") == 3
                    }
                    let joined = try spine.now()
                    try await eventually("a second's work is shared by three") {
                        try spine.isShared(by: 3, since: "-1 s")
                    }
                    let balanced = try spine.seconds(since: joined) - 1
                    print("join: balanced after \(balanced) s")
                    #expect(balanced < 5)
                    shared = try spine.now()
                    try await trickle.send(2400)
                }
                let shares = try spine.shares(since: shared)
                #expect(shares.count == 3)
                #expect(shares.values.allSatisfy { $0 > 0.2 }, "\(shares)")
                try await workers.stop(replicas)
                #expect(try spine.count("SELECT count(*) FROM consumer_members") == 0)
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `the work of a killed replica moves in less than a second`() async throws {
        try await Spine.with { spine in
            try await Workers.with(spine) { workers in
                var replicas: [String: ChildProcess] = [:]
                for name in ["one", "two", "three"] { replicas[name] = try Self.start(name, workers) }
                var times: [Double] = []
                try await Trickle.with(spine) { _ in
                    for victim in ["two", "one", "three"] {
                        try await eventually("three share the work") { try spine.isShared(by: 3, since: "-1 s") }
                        let queues = try spine.queues(of: victim)
                        let killed = try spine.now()
                        replicas[victim]?.signal(SIGKILL)
                        times.append(try await spine.taken(over: queues, from: victim, since: killed))
                        replicas[victim] = try Self.start(victim, workers)
                    }
                    // One that has just begun does not know how to stop yet.
                    try await eventually("the last is back") { try spine.isShared(by: 3, since: "-1 s") }
                }
                print("kill: taken over after \(times) s")
                // The middle one of three: what else runs on the machine may cost one of them a second.
                #expect(times.sorted()[1] < 1)
                try await workers.stop(Array(replicas.values))
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `the work of a frozen replica moves in fifteen seconds, and its waking changes nothing`() async throws {
        try await Spine.with { spine in
            try await Workers.with(spine) { workers in
                var replicas: [String: ChildProcess] = [:]
                for name in ["one", "two", "three"] { replicas[name] = try Self.start(name, workers) }
                try await Trickle.with(spine) { _ in
                    try await eventually("three share the work") { try spine.isShared(by: 3, since: "-1 s") }
                    let queues = try spine.queues(of: "two")
                    let frozen = try spine.now()
                    replicas["two"]?.signal(SIGSTOP)
                    let time = try await spine.taken(over: queues, from: "two", since: frozen)
                    print("freeze: taken over after \(time) s")
                    #expect(time < 15)
                    replicas["two"]?.signal(SIGCONT)
                    try await eventually("it has its share again") { try spine.isShared(by: 3, since: "-1 s") }
                }
                try await workers.stop(Array(replicas.values))
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    @Test func `a replica that is asked to stop hands its partitions over at once`() async throws {
        try await Spine.with { spine in
            try await Workers.with(spine) { workers in
                let (stays, leaves) = (try Self.start("stays", workers), try Self.start("leaves", workers))
                try await Trickle.with(spine) { _ in
                    try await eventually("two share the work") { try spine.isShared(by: 2, since: "-1 s") }
                    let queues = try spine.queues(of: "leaves")
                    let asked = try spine.now()
                    try await workers.stop([leaves])
                    let time = try await spine.taken(over: queues, from: "leaves", since: asked)
                    print("stop: handed over after \(time) s")
                    #expect(time < 2)
                    #expect(try spine.count("SELECT count(*) FROM consumer_members") == 1)
                }
                try await workers.stop([stays])
            }
            try await spine.expectWholeAndOrdered()
        }
    }

    private static func start(_ name: String, _ workers: Workers) throws -> ChildProcess {
        try workers.start("consume", name: name, isScaled: false)
    }
}
