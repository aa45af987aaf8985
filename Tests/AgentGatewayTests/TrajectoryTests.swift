import Artifacts
import Domain
import HTTPClient
import HTTPTypes
import Postgres
import Store
import Telemetry
import Testing

@testable import AgentGateway

@Suite struct TrajectoryTests {
    private static let traced = Bench.Options(settings: ["trace": true])

    /// A body that begins like a gzip member, as far as the gateway looks.
    private static func part(_ text: String) -> [UInt8] { [0x1F, 0x8B] + Array(text.utf8) }

    private static func send(
        _ text: String, _ query: String, attempt: Int = 1, to bench: Bench
    ) async throws -> Answer {
        let request = ClientRequest(
            method: "POST", url: "\(bench.url)/session/trace?\(query)",
            headers: [
                "Authorization": "Bearer \(bench.token(.harness, attempt: attempt))",
                "Content-Type": "application/gzip",
            ], body: part(text), timeout: .seconds(60))
        return Answer(try await Bench.client.send(request))
    }

    private static func stored(_ bench: Bench) throws -> (record: TrajectoryRecord, bytes: [UInt8])? {
        guard let record = try TrajectoryStore.find(bench.task, in: try bench.connection()) else { return nil }
        let store = DirectoryArtifactStore(directory: "\(bench.directory)/artifacts")
        guard let reader = try store.open(record.key) else { return nil }
        var buffer = [UInt8](repeating: 0, count: Int(try reader.count()))
        _ = try buffer.withUnsafeMutableBytes { try reader.read(into: $0, at: 0) }
        return (record, buffer)
    }

    @Test func `parts follow each other once each, and the last one is told once`() async throws {
        try await Bench.with(Self.traced) { bench async throws in
            #expect(try await Self.send("one", "part=1", to: bench).data["bytes"] == 5)
            let gap = try await Self.send("three", "part=3", to: bench)
            #expect(gap.status == 409)
            #expect(gap.body["error"]?["expected"] == 2)
            #expect(try await Self.send("two", "part=2&truncated=true&final=true", to: bench).status == 200)
            for query in ["part=1", "part=2&final=true"] {
                #expect(try await Self.send("again", query, to: bench).data["bytes"] == 10)
            }
            let stored = try #require(try Self.stored(bench))
            #expect(stored.bytes == Self.part("one") + Self.part("two"))
            #expect(stored.record.isTruncated && stored.record.isComplete)
            let told = try bench.events(.agentMilestone)
            #expect(told == [["milestone": "trajectory_uploaded", "bytes": 10, "truncated": true]])
            let head = try bench.connection().query("SELECT trajectory_bytes FROM task_heads").only()
            #expect(try head.get("trajectory_bytes", as: Int64.self) == 10)
        }
    }

    @Test func `what a crash left behind the counted bytes is written over`() async throws {
        try await Bench.with(Self.traced) { bench async throws in
            _ = try await Self.send("one", "part=1", to: bench)
            let record = try #require(try Self.stored(bench)).record
            let store = DirectoryArtifactStore(directory: "\(bench.directory)/artifacts")
            try store.write(Array("torn, and longer than what follows".utf8), to: record.key, at: record.bytes)
            _ = try await Self.send("two", "part=2", to: bench)
            #expect(try #require(try Self.stored(bench)).bytes == Self.part("one") + Self.part("two"))
        }
    }

    @Test func `a second attempt counts from one behind the first, which is refused from then on`() async throws {
        try await Bench.with(Self.traced) { bench async throws in
            _ = try await Self.send("one", "part=1&final=true", to: bench)
            try bench.moveToSecondAttempt(keepsTokens: true)
            #expect(try await Self.send("late", "part=2", to: bench).code == "STALE_EPOCH")
            #expect(try await Self.send("two", "part=1", attempt: 2, to: bench).status == 200)
            let stored = try #require(try Self.stored(bench))
            #expect(stored.bytes == Self.part("one") + Self.part("two"))
            #expect(!stored.record.isComplete)
            #expect(try await Self.send("three", "part=2&final=true", attempt: 2, to: bench).status == 200)
            #expect(try bench.events(.agentMilestone).count == 2)
        }
    }

    @Test func `what is too much is refused, and the rest says that it is not all`() async throws {
        try await Bench.with(Self.traced) { bench async throws in
            _ = try await Self.send("one", "part=1", to: bench)
            try bench.connection().query("UPDATE trajectories SET bytes = \(TrajectoryRoutes.limit - 3)")
            let full = try await Self.send("two", "part=2", to: bench)
            #expect(full.status == 413)
            #expect(full.code == "TRACE_FULL")
            let record = try #require(try TrajectoryStore.find(bench.task, in: try bench.connection()))
            #expect(record.isTruncated)
            #expect(record.part == 1)
        }
    }

    @Test func `a task without a trace, a broken part and another's token are refused`() async throws {
        try await Bench.with(Self.traced) { bench async throws in
            for query in ["", "part=0", "part=x", "part=-1"] {
                #expect(try await Self.send("one", query, to: bench).status == 400)
            }
            let path = "/session/trace?part=1"
            #expect(try await bench.call("POST", path, token: bench.token(.harness), "no gzip").status == 400)
            #expect(try await bench.call("POST", path, token: bench.token(.git)).status == 401)
        }
        try await Bench.with { bench async throws in
            #expect(try await Self.send("one", "part=1", to: bench).code == "TRACE_NOT_ENABLED")
            #expect(try Self.stored(bench) == nil)
        }
    }

    @Test func `bytes that are gone are told as missing, and the trace begins anew`() async throws {
        try await Bench.with(Self.traced) { bench in
            _ = try await Self.send("one", "part=1", to: bench)
            let key = try #require(try Self.stored(bench)).record.key
            try DirectoryArtifactStore(directory: "\(bench.directory)/artifacts").remove(key)
            #expect(try await Self.send("two", "part=2", to: bench).data["bytes"] == 5)
            let stored = try #require(try Self.stored(bench))
            #expect(stored.bytes == Self.part("two"))
            #expect(stored.record.isTruncated)
        }
    }

    @Test func `a trace goes when its task has ended long ago, and not before`() async throws {
        try await Bench.with(Self.traced) { bench in
            _ = try await Self.send("one", "part=1", to: bench)
            let key = try #require(try Self.stored(bench)).record.key
            let store = DirectoryArtifactStore(directory: "\(bench.directory)/artifacts")
            let sweep = TrajectorySweep(
                pool: bench.pool, store: store, locks: "\(bench.directory)/locks", keep: .seconds(604_800),
                log: .silent)
            let connection = try bench.connection()
            try connection.query("UPDATE trajectories SET updated_at = now() - interval '8 days'")
            #expect(try await sweep.runOnce() == 0)
            try bench.finish()
            #expect(try await sweep.runOnce() == 0)
            #expect(try store.open(key) != nil)
            try connection.query("ALTER TABLE tasks DISABLE TRIGGER USER")
            try connection.query("UPDATE tasks SET completed_at = now() - interval '8 days'")
            #expect(try await sweep.runOnce() == 2)
            #expect(try store.open(key) == nil)
            #expect(try TrajectoryStore.find(bench.task, in: connection) == nil)
            #expect(try await sweep.runOnce() == 0)
        }
    }

    @Test func `bytes that no row speaks of go, and nothing else`() async throws {
        try await Bench.with(Self.traced) { bench in
            _ = try await Self.send("one", "part=1", to: bench)
            let key = try #require(try Self.stored(bench)).record.key
            let store = DirectoryArtifactStore(directory: "\(bench.directory)/artifacts")
            let left = "traces/01JZ0000000000000000000001/01JZ0000000000000000000002.jsonl.gz"
            try store.write([1], to: left, at: 0)
            try store.write([1], to: "traces/something/else", at: 0)
            let sweep = TrajectorySweep(
                pool: bench.pool, store: store, locks: "\(bench.directory)/locks", keep: .seconds(60), log: .silent)
            #expect(try await sweep.runOnce() == 1)
            #expect(try store.open(left) == nil)
            #expect(try store.open("traces/something/else") != nil)
            #expect(try store.open(key) != nil)
        }
    }
}
