import Artifacts
import Domain
import HTTPClient
import HTTPTypes
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct TraceTests {
    /// Stores so much of a trajectory as its agent would have sent, and some bytes that are not counted yet.
    private static func store(_ text: String, of id: TaskID, _ world: World) async throws {
        let store = world.artifacts
        try await world.pool.transaction { tx in
            guard let task = try TaskStore.load(id, in: tx) else { throw StoreError.noRow("tasks") }
            let record = try TrajectoryStore.begin(task, in: tx)
            try store.write(Array("\(text)and more".utf8), to: record.key, at: 0)
            _ = try TrajectoryStore.advance(
                record, at: 0, by: text.utf8.count, isTruncated: false, isComplete: false, in: tx)
        }
    }

    private static func submit(_ world: World, as person: World.Person? = nil) async throws -> TaskID {
        try await world.submit(
            ["repo": "acme/shop", "task_description": "Fix the rounding", "trace": true], as: person)
    }

    @Test func `a link opens the trace without a token, as far as it is stored`() async throws {
        try await World.with { world async throws in
            let id = try await Self.submit(world)
            #expect(try await world.get("/v1/tasks/\(id)/trace").code == "TRACE_NOT_AVAILABLE")
            #expect(try await world.get("/v1/tasks/\(id)/status").data["trace_bytes"] == .null)
            try await Self.store("what was said ", of: id, world)
            let link = try await world.get("/v1/tasks/\(id)/trace").data
            #expect(link["bytes"] == 14)
            #expect(link["complete"] == false)
            #expect(try await world.get("/v1/tasks/\(id)/status").data["trace_bytes"] == 14)
            let url = try #require(link["url"]?.string)
            let file = try await world.fetch(url)
            #expect(file.status == 200)
            #expect(file.headers["Content-Type"] == "application/gzip")
            #expect(String(decoding: file.body, as: UTF8.self) == "what was said ")
        }
    }

    @Test func `a link that was changed, of another task, or too old opens nothing`() async throws {
        try await World.with { world async throws in
            let (id, other) = (try await Self.submit(world), try await Self.submit(world))
            for task in [id, other] { try await Self.store("text", of: task, world) }
            let url = try #require(try await world.get("/v1/tasks/\(id)/trace").data["url"]?.string)
            let changed = [
                url.replacing("\(id)", with: "\(other)"), url.replacing("expires=1", with: "expires=9"),
                String(url.dropLast()) + (url.hasSuffix("0") ? "1" : "0"), String(url.prefix { $0 != "?" }),
                url.replacing("signature=", with: "signature=&x="),
            ]
            for link in changed {
                let answer = try await world.fetch(link)
                #expect(answer.status == 403 || answer.status == 400, "\(link)")
            }
            let links = SignedLinks(pool: world.pool)
            let path = "/v1/traces/\(id)"
            let now = Timestamp.now
            let old = try links.sign(path, now: Timestamp(microseconds: now.microseconds - 901_000_000))
            let late = try await world.fetch("\(path)?\(old.query)")
            #expect(late.status == 403)
            #expect(String(decoding: late.body, as: UTF8.self).contains("LINK_EXPIRED"))
            // Another replica has the same key.
            let young = try links.sign(path, now: Timestamp(microseconds: now.microseconds - 800_000_000))
            #expect(try await world.fetch("\(path)?\(young.query)").status == 200)
        }
    }

    @Test func `who may not see the task gets no link`() async throws {
        try await World.with { world async throws in
            let ada = try await world.person("ada")
            let id = try await Self.submit(world, as: ada)
            try await Self.store("text", of: id, world)
            try await world.pool.run {
                try $0.query("UPDATE repos SET access = 'restricted'")
                try $0.query(
                    "INSERT INTO repo_grants VALUES ('acme/shop', \(ada.id.rawValue), 'read')")
                return
            }
            let eve = try await world.person("eve")
            #expect(try await world.get("/v1/tasks/\(id)/trace", as: eve).code == "TASK_NOT_FOUND")
            #expect(try await world.call("GET", "/v1/tasks/\(id)/trace", anonymous: true).status == 401)
            #expect(try await world.get("/v1/tasks/\(id)/trace", as: ada).status == 200)
        }
    }
}
