import Domain
import Testing

@testable import CLI

@Suite struct OperatorVerbTests {
    private static func state(_ atWork: Int, paused: Bool = true) -> String {
        let pause = #"{"scope":"*","reason":"upgrade","user_id":null,"paused_at":"2025-01-31T12:00:00Z"}"#
        let pauses = paused ? "[\(pause)]" : "[]"
        return """
            {"data":{"tasks_at_work":\(atWork),"pauses":\(pauses),"nodes":[{"node":"n1","backend":"process","capacity":4,\
            "running":\(atWork),"draining":false,"last_seen":"2025-01-31T12:00:00Z"}]}}
            """
    }

    @Test func `a drain pauses and waits until nothing is at work`() async throws {
        let server = try ScriptedServer { request in
            request.path == "/v1/admin/pause" ? .json(200, Self.state(2)) : .json(200, Self.state(0))
        }
        let outcome = await Session(server).run("admin", "drain", "--reason", "upgrade")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(server.requests.first?.body == #"{"reason":"upgrade"}"#)
        #expect(server.requests.map(\.path) == ["/v1/admin/pause", "/v1/admin/state"])
        #expect(outcome.errors.contains("2 tasks still at work."))
        #expect(outcome.output.contains("everything (upgrade)"))
        #expect(outcome.output.contains("n1"))
    }

    @Test func `a drain's wait expires with a code of its own and it stays paused`() async throws {
        let server = try ScriptedServer { _ in .json(200, Self.state(1)) }
        let outcome = await Session(server).run("admin", "drain", "--max-wait", "5s")
        #expect(outcome.code == .stillRunning)
        #expect(outcome.errors.contains("It stays paused"))
        let node = await Session(server).run("admin", "drain", "--node", "n/1", "--no-wait")
        #expect(node.code == .success)
        #expect(server.requests.last?.path == "/v1/admin/nodes/n%2F1/drain")
    }

    @Test func `dead letters are listed, shown, tried and settled`() async throws {
        let letter = """
            {"dead_letter_id":"d1","kind":"message","source":"fanout","task_id":null,"seq":3,"reason":"no","place":"fanout.1",\
            "replayable":true,"obstacle":null,"created_at":"2025-01-31T12:00:00Z"}
            """
        let server = try ScriptedServer { request in
            switch (request.method, request.path) {
            case ("GET", "/v1/dead-letters"): .json(200, #"{"data":[\#(letter)],"pagination":{"next_token":null}}"#)
            case ("GET", _): .json(200, #"{"data":\#(letter)}"#)
            default:
                .json(
                    200,
                    #"{"data":{"dead_letter_id":"d1","action":"replay","dry_run":true,"effect":"fanout handles it"}}"#)
            }
        }
        let session = Session(server)
        #expect(await session.run("dlq", "list").lines[0] == "ID  KIND     FROM    TASK  SINCE                 REASON")
        #expect(await session.run("dlq", "show", "d1").output.contains("fanout.1"))
        #expect(await session.run("dlq", "replay", "d1", "--dry-run").output == "Would be done: fanout handles it.\n")
        #expect(server.requests.last?.body == #"{"dry_run":true}"#)
        #expect(await session.run("dlq", "drop", "d1").output == "Done: fanout handles it.\n")
        #expect(server.requests.last?.path == "/v1/dead-letters/d1/drop")
    }
}
