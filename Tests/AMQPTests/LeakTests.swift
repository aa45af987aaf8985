import AMQP
import FoundationEssentials
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct LeakTests {
    /// What this process holds that a connection could leave behind.
    private struct Holdings: Equatable {
        let descriptors: Int
        let threads: Int

        static var now: Holdings {
            get throws {
                let files = FileManager.default
                let threads = try files.contentsOfDirectory(atPath: "/proc/self/task").filter {
                    let name = files.contents(atPath: "/proc/self/task/\($0)/comm").map {
                        String(decoding: $0, as: UTF8.self)
                    }
                    return name == "amqp\n"
                }
                return Holdings(
                    descriptors: try files.contentsOfDirectory(atPath: "/proc/self/fd").count, threads: threads.count)
            }
        }
    }

    // In a process of its own: the other tests open and close connections all the time.
    @Test func `closed, refused and broken connections leave nothing behind`() async {
        await #expect(processExitsWith: .success) {
            try await withScratchVhost { url in
                var uses = 0
                func useAndEnd(_ end: (AMQPConnection) async -> Void) async throws {
                    uses += 1
                    let queue = "q\(uses)"
                    let connection = try await AMQPConnection.open(try AMQPConfig(url: url))
                    try await connection.declare(Topology(queues: [Queue(queue, exclusive: true)]))
                    _ = try await connection.publish([.to(queue, "1")])
                    _ = try await connection.consume(queues: [queue], prefetch: 1)
                    await end(connection)
                }
                func endInEveryWay() async throws {
                    try await useAndEnd { await $0.close() }
                    try await useAndEnd { _ in }
                    var config = try AMQPConfig(url: url)
                    config.password = "wrong"
                    let wrong = config
                    await #expect(throws: AMQPError.self) { try await AMQPConnection.open(wrong) }
                }
                try await endInEveryWay()
                var looks = 0
                let before = try await eventually("the threads of the first round are gone") {
                    // More than one look: the pause between two opens the descriptors of the runtime's own timer.
                    looks += 1
                    let now = try Holdings.now
                    return now.threads == 0 && looks > 3 ? now : nil
                }
                for _ in 1...10 { try await endInEveryWay() }
                try await eventually("nothing more is held than before: \(before)") {
                    let now = try Holdings.now
                    return now.threads == 0 && now.descriptors <= before.descriptors
                }
            }
        }
    }
}
