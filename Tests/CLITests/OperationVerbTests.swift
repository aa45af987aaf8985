import Domain
import Foundation
import HTTPTypes
import Testing
import Threads

@testable import CLI

@Suite struct OperationVerbTests {
    private static let me = #"{"data":{"user_id":"u1","name":"ada","role":"admin"}}"#
    private static let platform = """
        {"data":{"ok":false,"version":"0.1.0","schema":8,
        "failures":[{"service":"agent-gateway","instance":"h:7","check":"model","detail":"refuses our key (status 401)",
        "remedy":"Set BGAGENT_MODEL_API_KEY to a valid key and restart the agent gateway."},
        {"service":"relay","instance":null,"check":"missing","detail":"nothing was heard of it for a day",
        "remedy":"Start relay."}],
        "services":[{"service":"gateway","required":true,"state":"ok","instances":[{"instance":"h:1","version":"0.1.0",
        "schema":8,"silent":false,"seen_age_s":3,"uptime_s":60,"checks":[{"name":"clock","ok":true,"detail":"x",
        "remedy":null}]}]},{"service":"agent-gateway","required":true,"state":"failing","instances":[{"instance":"h:7",
        "version":"0.1.0","schema":8,"silent":false,"seen_age_s":3,"uptime_s":60,"checks":[{"name":"model","ok":false,
        "detail":"y","remedy":"z"}]}]},{"service":"relay","required":true,"state":"missing","instances":[]},
        {"service":"dispatch-slack","required":false,"state":"absent","instances":[]}]}}
        """
    /// The session's clock, as a server of the same time would tell it.
    private static let date: (String, String) = ("Date", "Sun, 01 Mar 2026 12:00:05 GMT")

    private func doctor(_ answer: ScriptedServer.Answer) throws -> ScriptedServer {
        try ScriptedServer { request in
            request.path == "/v1/me" ? .json(200, Self.me, [Self.date]) : answer
        }
    }

    // MARK: - doctor

    @Test func `doctor prints what is to be mended, each with one remedy`() async throws {
        let server = try doctor(.json(200, Self.platform))
        let outcome = await Session(server).run("doctor")
        #expect(outcome.code == .failure)
        let text = outcome.lines.map { line in
            line.contains("settings")
                ? "ok    settings      profile" : line.contains("answers in") ? "ok    gateway" : line
        }
        try Golden.expect(text.joined(separator: "\n"), matches: "doctor.txt")
    }

    @Test func `doctor says that all is well, and in JSON the same`() async throws {
        let well = #"{"data":{"ok":true,"version":"0.1.0","schema":8,"failures":[],"services":[]}}"#
        let server = try doctor(.json(200, well))
        let outcome = await Session(server).run("doctor")
        #expect(outcome.code == .success)
        #expect(outcome.output.hasSuffix("All is well.\n"))
        let json = try JSONValue(parsing: Array(await Session(server).run("doctor", "-o", "json").output.utf8))
        #expect(json["ok"] == true)
        #expect(json["platform"]?["schema"] == 8)
    }

    @Test func `doctor without a gateway says what this machine can see`() async throws {
        let server = try doctor(.json(200, Self.platform))
        server.stop()
        let away = await Session(server).run("doctor")
        #expect(away.code == .failure)
        #expect(away.output.contains("FAIL  connection"))
        #expect(away.output.contains("→ Start the gateway"))
        let nobody = await Session(environment: [
            "BGAGENT_API_URL": "http://no-such-host.invalid:8080", "BGAGENT_TOKEN": "t",
        ]).run("doctor")
        #expect(nobody.output.contains("FAIL  address"))
        let unset = await Session(environment: ["HOME": "/nonexistent"]).run("doctor")
        #expect(unset.code == .failure)
        #expect(unset.output.contains("FAIL  settings"))
    }

    @Test func `doctor tells a wrong token, a database that is away and a clock that is off`() async throws {
        let refused = try ScriptedServer { _ in .json(401, #"{"error":{"code":"UNAUTHORIZED","message":"no"}}"#) }
        #expect(await Session(refused).run("doctor").output.contains("FAIL  token"))
        let busy = try ScriptedServer { _ in
            .json(503, #"{"error":{"code":"SERVICE_UNAVAILABLE","message":"away"}}"#)
        }
        #expect(await Session(busy).run("doctor").output.contains("FAIL  database"))
        let late = try ScriptedServer { request in
            .json(
                200, request.path == "/v1/me" ? Self.me : Self.platform, [("Date", "Sun, 01 Mar 2026 11:00:00 GMT")])
        }
        #expect(await Session(late).run("doctor").output.contains("FAIL  clock         1h 0m ahead of the gateway's"))
    }

    @Test func `doctor of somebody who is no administrator looks at this side alone`() async throws {
        let server = try doctor(.json(403, #"{"error":{"code":"FORBIDDEN","message":"no"}}"#))
        let outcome = await Session(server).run("doctor")
        #expect(outcome.code == .success)
        #expect(outcome.output.contains("that needs an administrator"))
    }

    // MARK: - logs

    /// Lines come to light one more at each look; the task ends with the last.
    private func logServer(_ count: Int, reveals: Int) throws -> ScriptedServer {
        let shown = Lock(reveals)
        return try ScriptedServer { request in
            if request.path.hasSuffix("/status") {
                let isOver = shown.withLock { $0 } >= count
                return .json(200, "{\"data\":{\"status\":\"\(isOver ? "COMPLETED" : "RUNNING")\"}}")
            }
            let (after, limit) = (Int(request.query["after"] ?? "0") ?? 0, Int(request.query["limit"] ?? "0") ?? 0)
            let last = shown.withLock { $0 }
            let page = after < last ? Array((after + 1)...last).prefix(limit) : []
            shown.withLock { $0 = min(count, $0 + 1) }
            let lines = page.map { number in
                """
                {"seq":\(number),"at":"2026-03-01T12:00:00Z","service":"agent","instance":"n1","attempt":1,
                "level":"\(number == 2 ? "error" : "info")","message":"line \(number)\\u001b[2J","fields":{"turn":\(number)}}
                """
            }
            return .json(
                200,
                "{\"data\":[\(lines.joined(separator: ","))],\"pagination\":{\"has_more\":\(page.count == limit)}}")
        }
    }

    @Test func `logs prints every line once and nothing that a terminal obeys`() async throws {
        let server = try logServer(1200, reveals: 1200)
        let outcome = await Session(server).run("logs", FakeTask.id)
        #expect(outcome.code == .success)
        #expect(outcome.lines.count == 1201)
        #expect(outcome.lines[1].hasSuffix("error    agent            line 2\\x1b[2J  turn=2"))
        #expect(!outcome.output.contains("\u{1B}"))
        let json = try JSONValue(
            parsing: Array(await Session(server).run("logs", FakeTask.id, "-o", "json").output.utf8))
        #expect(json.array?.compactMap { $0.whole("seq") } == Array(1...1200))
        _ = await Session(server).run("logs", FakeTask.id, "--service", "agent", "--level", "warning", "--after", "7")
        let query = try #require(server.requests.first { $0.query["level"] != nil }?.query)
        #expect(query["service"] == "agent" && query["level"] == "warning" && query["after"] == "7")
    }

    @Test func `logs follows to the end of the task and its last words`() async throws {
        let server = try logServer(9, reveals: 0)
        let outcome = await Session(server).run("logs", FakeTask.id, "--follow")
        #expect(outcome.code == .success)
        #expect(outcome.lines.count == 10)
        #expect(server.requests.contains { $0.query["wait"] == "25" })
        let silent = try logServer(0, reveals: 0)
        let none = await Session(silent).run("logs", FakeTask.id)
        #expect(none.output.isEmpty && none.errors == "No lines.\n")
    }

    // MARK: - top

    private static let top = """
        {"data":{"status":{"task_id":"01JZ0000000000000000000001","status":"RUNNING","repo":"acme/shop",
        "issue_number":42,"attempt":2,"elapsed_s":252,"turn":12,"max_turns":100,"current_tool":"Bash",
        "waiting_for":null,"cost_usd":0.4231,"max_budget_usd":5,"queue_position":null},"tool_age_s":8,
        "tokens":{"input":1234567,"output":800,"cache_read":90000},"cost_last_5_min_usd":0.25,
        "sandbox":{"state":"running","backend":"process","node":"n1","age_s":250,"lease_left_s":43,"cpu_percent":37.4,
        "memory_bytes":222298112,"pids":5},"notifications":{"waiting":2,"unknown":0,"dead":1},
        "outbox":{"messages":3,"oldest_age_s":2},"events":[{"seq":57,"event_type":"agent_tool_call","age_s":8,
        "metadata":{"tool_name":"Bash","tool_input_preview":"make test"}},{"seq":56,"event_type":"moon_landed",
        "age_s":90,"metadata":{"a":1}}]}}
        """

    @Test func `top prints its fixed lines`() async throws {
        let server = try ScriptedServer { _ in .json(200, Self.top) }
        let outcome = await Session(server).run("top", FakeTask.id)
        #expect(outcome.code == .success)
        try Golden.expect(outcome.output, matches: "top.txt")
        #expect(server.requests.count == 1)
        let bare = try ScriptedServer { _ in .json(200, #"{"data":{}}"#) }
        let empty = await Session(bare).run("top", FakeTask.id)
        try Golden.expect(empty.output, matches: "top-empty.txt")
    }

    @Test func `top on a terminal refreshes in place until the task has ended`() async throws {
        let looks = Lock(0)
        let server = try ScriptedServer { _ in
            let number = looks.withLock { looks in
                looks += 1
                return looks
            }
            let state = number < 4 ? "RUNNING" : "COMPLETED"
            return .json(200, "{\"data\":{\"status\":{\"status\":\"\(state)\",\"turn\":\(number)}}}")
        }
        let session = Session(
            environment: ["BGAGENT_API_URL": server.url, "BGAGENT_TOKEN": "t", "NO_COLOR": "1"], width: 60)
        let outcome = await session.run("top", FakeTask.id)
        #expect(outcome.code == .success)
        #expect(server.requests.count == 4)
        #expect(session.pauses == [.seconds(2), .seconds(2), .seconds(2)])
        #expect(outcome.output.components(separatedBy: "\u{1B}[H").count == 5)
        let lines = outcome.output.components(separatedBy: "\u{1B}[K\n").map { Text.visible($0) }
        #expect(lines.allSatisfy { $0.utf8.count < 90 })
        _ = await session.run("top", FakeTask.id, "--once")
        #expect(server.requests.count == 5)
    }

    // MARK: - repo check

    private func checkServer(_ answers: [String]) throws -> ScriptedServer {
        let left = Lock(answers)
        return try ScriptedServer { request in
            if request.path == "/v1/repos" || request.method == "DELETE" {
                return .json(201, #"{"data":{"repo":"acme/shop"}}"#)
            }
            let state = left.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
            let checks =
                state == "failed"
                ? #"[{"name":"repository","ok":true,"detail":"is there","remedy":null},"#
                    + #"{"name":"push","ok":false,"detail":"may not push","remedy":"Give it write access."}]"#
                : state == "passed" ? #"[{"name":"push","ok":true,"detail":"may push","remedy":null}]"# : "[]"
            return .json(200, "{\"data\":{\"repo\":\"acme/shop\",\"state\":\"\(state)\",\"checks\":\(checks)}}")
        }
    }

    @Test func `repo check waits for the answer and prints its remedy`() async throws {
        let (late, never) = (try checkServer(["pending", "pending", "passed"]), try checkServer(["pending"]))
        let refusing = try checkServer(["failed"])
        let passed = await Session(late).run("repo", "check", "acme/shop")
        #expect(passed.code == .success)
        #expect(passed.output == "ok    push            may push\n")
        let failed = await Session(refusing).run("repo", "check", "acme/shop")
        #expect(failed.code == .failure)
        #expect(failed.output.contains("FAIL  push            may not push\n      → Give it write access.\n"))
        let silent = await Session(never).run("repo", "check", "acme/shop")
        #expect(silent.code == .failure)
        #expect(silent.errors.contains("was not checked within 10 s"))
    }

    @Test func `a repository whose credential fails is added, unless access is required`() async throws {
        let server = try checkServer(["failed"])
        let added = await Session(server).run("repo", "add", "acme/shop")
        #expect(added.code == .success)
        #expect(added.lines[0] == "Repository acme/shop takes tasks now.")
        #expect(added.output.contains("→ Give it write access."))
        #expect(added.errors.contains("its tasks will fail until that is mended: bgagent repo check acme/shop"))
        #expect(!server.requests.contains { $0.method == "DELETE" })
        let strict = await Session(server).run("repo", "add", "acme/shop", "--require-access")
        #expect(strict.code == .failure)
        #expect(strict.errors.contains("acme/shop is not added"))
        #expect(server.requests.last?.method == "DELETE")
        let fine = try checkServer(["passed"])
        #expect(await Session(fine).run("repo", "add", "acme/shop", "--require-access").code == .success)
        let never = try checkServer(["pending"])
        let away = await Session(never).run("repo", "add", "acme/shop")
        #expect(away.code == .success)
        #expect(away.errors.contains("warning: acme/shop was not checked within 10 s"))
    }
}
