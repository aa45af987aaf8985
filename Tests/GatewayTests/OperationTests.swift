import Domain
import HTTPTypes
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct OperationTests {
    @Test func `administrators pause and resume everything or a repository`() async throws {
        try await World.with { world async throws in
            let all = try await world.call("POST", "/v1/admin/pause", body: ["reason": "upgrade"])
            #expect(all.data["pauses"]?.array?.map { $0["scope"]?.string } == ["*"])
            #expect(all.data["pauses"]?.array?.first?["reason"] == "upgrade")
            let again = try await world.call("POST", "/v1/admin/pause", body: [:])
            #expect(again.data["pauses"] == all.data["pauses"])
            let shop = try await world.call("POST", "/v1/admin/pause", body: ["repo": "acme/shop"])
            #expect(shop.data["pauses"]?.array?.map { $0["scope"]?.string } == ["*", "acme/shop"])
            let stranger = try await world.call("POST", "/v1/admin/pause", body: ["repo": "acme/none"])
            #expect(stranger.status == 404)
            let resumed = try await world.call("POST", "/v1/admin/resume", body: [:])
            #expect(resumed.data["pauses"]?.array?.map { $0["scope"]?.string } == ["acme/shop"])
            #expect(try await world.call("POST", "/v1/admin/resume", body: [:]).status == 200)
            #expect(
                try await world.call("POST", "/v1/admin/resume", body: ["repo": "acme/shop"]).data["pauses"] == [])
            let actions = try await world.count("SELECT count(*) FROM audit_log WHERE action IN ('pause', 'resume')")
            #expect(actions == 5)
        }
    }

    @Test func `a task that waits says what is paused and why, and estimates nothing`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit(["repo": "acme/shop", "task_description": "x y"])
            func waits() async throws -> (kind: String?, detail: String?, estimate: JSONValue?) {
                let status = try await world.get("/v1/tasks/\(id)/status").data
                let shown = try await world.get("/v1/tasks/\(id)").data
                #expect(shown["estimated_wait_s"] == status["estimated_wait_s"])
                let waiting = status["waiting_for"]
                return (waiting?["kind"]?.string, waiting?["detail"]?.string, status["estimated_wait_s"])
            }
            #expect(try await waits().kind == "admission")
            #expect(try await waits().estimate == 600)
            _ = try await world.call("POST", "/v1/admin/pause", body: ["repo": "acme/shop", "reason": "freeze"])
            let paused = try await waits()
            #expect(paused.kind == "pause")
            #expect(paused.detail == "an administrator to resume acme/shop, which is paused: freeze")
            #expect(paused.estimate == .null)
            _ = try await world.call("POST", "/v1/admin/pause", body: [:])
            #expect(try await waits().detail == "an administrator to resume the platform")
            _ = try await world.call("POST", "/v1/admin/resume", body: [:])
            _ = try await world.call("POST", "/v1/admin/resume", body: ["repo": "acme/shop"])
            #expect(try await waits().kind == "admission")
            // What runs is never touched, and waits for nobody.
            try await world.bring(id, to: .running)
            _ = try await world.call("POST", "/v1/admin/pause", body: [:])
            #expect(try await waits().kind == nil)
        }
    }

    @Test func `a node is drained and gets work again`() async throws {
        try await World.with { world async throws in
            try await world.pool.run { try NodeStore.beat("n1", backend: "process", capacity: 4, in: $0) }
            let drained = try await world.call("POST", "/v1/admin/nodes/n1/drain")
            #expect(drained.data["nodes"]?.array?.first?["draining"] == true)
            #expect(drained.data["nodes"]?.array?.first?["running"] == 0)
            let resumed = try await world.call("POST", "/v1/admin/nodes/n1/resume")
            #expect(resumed.data["nodes"]?.array?.first?["draining"] == false)
            #expect(try await world.call("POST", "/v1/admin/nodes/n2/drain").code == "NODE_NOT_FOUND")
        }
    }

    @Test func `operations are for administrators`() async throws {
        try await World.with { world async throws in
            let ada = try await world.person("ada")
            #expect(try await world.get("/v1/admin/state", as: ada).status == 403)
            #expect(try await world.get("/v1/dead-letters", as: ada).status == 403)
            #expect(try await world.call("POST", "/v1/admin/pause", as: ada, body: [:]).status == 403)
            #expect(try await world.call("POST", "/v1/dead-letters/x/drop", as: ada, body: [:]).status == 403)
        }
    }

    @Test func `dead letters are listed in pages, shown, and dropped once`() async throws {
        try await World.with { world async throws in
            let task = try await world.submit()
            try await world.pool.run { connection in
                for number in 0..<5 {
                    try ConsumerStore.deadLetter(
                        "fanout", queue: "fanout.1", task: task.rawValue, seq: Int64(number + 1),
                        messageID: "m\(number)",
                        reason: "reason \(number)", body: "{\"n\":\(number)}", in: connection)
                }
                try ConsumerStore.deadLetter(
                    "fanout", queue: "fanout.1", task: nil, seq: nil, messageID: nil, reason: "no JSON", body: "?",
                    in: connection)
            }
            var seen: [String] = []
            var next: String?
            repeat {
                let page = try await world.get("/v1/dead-letters?limit=2" + (next.map { "&next_token=\($0)" } ?? ""))
                seen += (page.body["data"]?.array ?? []).compactMap { $0["reason"]?.string }
                next = page.next
            } while next != nil
            #expect(seen == (0..<5).map { "reason \($0)" } + ["no JSON"])
            let mine = try await world.get("/v1/dead-letters?task_id=\(task)")
            #expect(mine.body["data"]?.array?.count == 5)
            let id = try #require(mine.body["data"]?.array?.first?["dead_letter_id"]?.string)
            #expect(try await world.get("/v1/dead-letters/\(id)").data["body"] == "{\"n\":0}")
            let dry = try await world.call("POST", "/v1/dead-letters/\(id)/drop", body: ["dry_run": true])
            #expect(dry.data["dry_run"] == true)
            #expect(try await world.call("POST", "/v1/dead-letters/\(id)/drop", body: [:]).status == 200)
            #expect(try await world.call("POST", "/v1/dead-letters/\(id)/drop", body: [:]).status == 404)
            #expect(try await world.get("/v1/dead-letters/\(id)").status == 404)
            #expect(try await world.get("/v1/dead-letters/..%2F").status == 404)
        }
    }

    @Test func `a message is asked for once more, and one that cannot be decoded is not`() async throws {
        try await World.with { world async throws in
            let task = try await world.submit()
            try await world.pool.run { connection in
                try connection.query("DELETE FROM outbox")
                try ConsumerStore.deadLetter(
                    "fanout", queue: "fanout.1", task: task.rawValue, seq: 1, messageID: "m", reason: "no", body: "{}",
                    in: connection)
                try ConsumerStore.deadLetter(
                    "fanout", queue: "fanout.1", task: nil, seq: nil, messageID: nil, reason: "no JSON", body: "?",
                    in: connection)
            }
            let letters = try await world.get("/v1/dead-letters").body["data"]?.array ?? []
            let ids = letters.compactMap { $0["dead_letter_id"]?.string }
            #expect(letters.map { $0["replayable"] } == [true, false])
            let refused = try await world.call("POST", "/v1/dead-letters/\(ids[1])/replay", body: [:])
            #expect(refused.code == "NOT_REPLAYABLE")
            let dry = try await world.call("POST", "/v1/dead-letters/\(ids[0])/replay", body: ["dry_run": true])
            #expect(dry.data["effect"]?.string?.contains("fanout") == true)
            #expect(try await world.count("SELECT count(*) FROM message_replays") == 0)
            #expect(try await world.call("POST", "/v1/dead-letters/\(ids[0])/replay", body: [:]).status == 200)
            #expect(try await world.count("SELECT count(*) FROM message_replays") == 1)
            let again: Query = "SELECT count(*) FROM outbox WHERE stream = 'events' AND stream_seq = 1"
            #expect(try await world.count(again) == 1)
            #expect(try await world.call("POST", "/v1/dead-letters/\(ids[0])/replay", body: [:]).status == 404)
        }
    }

    @Test func `a notification that was given up is planned anew`() async throws {
        try await World.with { world async throws in
            let task = try await world.submit()
            try await world.pool.run { connection in
                try connection.query(
                    """
                    INSERT INTO effects (effect_id, task_id, channel, target, event_id, event_seq, stream_seq, event_type,
                        payload, state, attempts, last_error)
                    VALUES ('abc', \(task.rawValue), 'slack', '#builds', 'e', 1, 1, 'task_failed', '{}', 'dead', 9,
                        'channel_not_found')
                    """)
            }
            let listed = try await world.get("/v1/dead-letters").body["data"]?.array ?? []
            #expect(listed.first?["kind"] == "notification")
            #expect(listed.first?["reason"] == "channel_not_found")
            #expect(try await world.call("POST", "/v1/dead-letters/abc/replay", body: [:]).status == 200)
            #expect(
                try await world.count("SELECT count(*) FROM effects WHERE state = 'planned' AND attempts = 0") == 1)
            #expect(try await world.get("/v1/dead-letters").body["data"] == [])
        }
    }
}
