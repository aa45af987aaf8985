import Domain
import HTTPTypes
import Testing
import Threads

@testable import CLI

@Suite struct TaskVerbTests {
    private static let accepted =
        "{\"data\":{\"task_id\":\"\(FakeTask.id)\",\"status\":\"SUBMITTED\",\"repo\":\"acme/shop\"}}"

    private func invocation(_ words: [String]) throws -> Invocation {
        guard case .run(let invocation) = try Parser().parse(["submit"] + words) else { throw UserError("no run") }
        return invocation
    }

    private func submission(_ words: String...) throws -> Submission {
        let invocation = try invocation(words)
        return try Submission(invocation, text: invocation.words("TEXT").joined(separator: " "))
    }

    // MARK: - submit

    @Test func `the body says what was typed and nothing else`() throws {
        let full = try submission(
            "--repo", "acme/shop", "--issue", "7", "--max-turns", "80", "--max-budget", "2.50", "--max-duration", "2h",
            "fix", "rounding")
        #expect(
            full.body.encoded()
                == #"{"issue_number":7,"max_budget_usd":2.5,"max_duration_s":7200,"max_turns":80,"repo":"acme/shop","task_description":"fix rounding"}"#
        )
        #expect(try submission("--repo", "a/b", "x").body.encoded() == #"{"repo":"a/b","task_description":"x"}"#)
    }

    @Test(arguments: [
        ("https://github.com/acme/shop/issues/42", "acme/shop", 42, nil),
        ("http://127.0.0.1:3000/acme/shop/issues/42#issuecomment-1", "acme/shop", 42, nil),
        ("acme/shop#42", "acme/shop", 42, nil),
        (
            "please fix https://github.com/acme/shop/issues/42.", "acme/shop", 42,
            "please fix https://github.com/acme/shop/issues/42."
        ),
        ("see acme/shop#42)", "acme/shop", 42, "see acme/shop#42)"),
    ])
    func `an issue's address names repository and issue`(
        text: String, repo: String, issue: Int, description: String?
    ) throws {
        let found = try Submission(try invocation([]), text: text)
        #expect(found.repo.rawValue == repo)
        #expect(found.issue == issue)
        #expect(found.description == description)
    }

    @Test func `the repository that was named wins over an address in the text`() throws {
        let found = try submission("--repo", "acme/web", "like https://github.com/acme/shop/issues/42")
        #expect(found.repo.rawValue == "acme/web")
        #expect(found.issue == nil)
        #expect(found.description == "like https://github.com/acme/shop/issues/42")
        #expect(try submission("--repo", "https://github.com/acme/web.git", "x").repo.rawValue == "acme/web")
    }

    @Test(arguments: [
        ["x"], ["--repo", "acme", "x"], ["--repo", "../..", "x"], ["--repo", "a/b"], ["--repo", "a/b", "  "],
        ["https://github.com/acme/shop/pull/1"],
    ])
    func `what cannot be submitted is refused before anything is sent`(words: [String]) async throws {
        let server = try ScriptedServer { _ in .json(500, "") }
        let outcome = await Session(server).run(["submit"] + words)
        #expect(outcome.code == .failure)
        #expect(outcome.errors.hasPrefix("error: "))
        #expect(server.requests.isEmpty)
    }

    @Test func `a lost answer never doubles the task`() async throws {
        let calls = Lock(0)
        let server = try ScriptedServer { _ in
            let call = calls.withLock { calls in
                calls += 1
                return calls
            }
            return switch call {
            case 1: .lost
            case 2: .json(502, "<html>bad gateway</html>")
            case 3:
                .json(429, #"{"error":{"code":"RATE_LIMIT_EXCEEDED","message":"slow down"}}"#, [("Retry-After", "3")])
            default: .json(200, Self.accepted, [("Idempotent-Replay", "true")])
            }
        }
        let session = Session(server)
        let outcome = await session.run("submit", "--repo", "acme/shop", "fix the test")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(outcome.lines[0] == "Task \(FakeTask.id) submitted: acme/shop")
        #expect(outcome.lines[1] == "Follow it: bgagent watch \(FakeTask.id)")
        #expect(server.requests.count == 4)
        let keys = Set(server.requests.map { $0.headers["Idempotency-Key"] })
        let key = try #require(keys.count == 1 ? keys.first ?? nil : nil)
        #expect(try IdempotencyKey.checked(key) == key)
        #expect(key.count == 26)
        #expect(Set(server.requests.map(\.body)).count == 1)
        #expect(session.pauses.contains(.seconds(3)))
    }

    @Test func `two invocations have two keys and a chosen key is sent as it is`() async throws {
        let server = try ScriptedServer { _ in .json(200, Self.accepted, [("Idempotent-Replay", "true")]) }
        let session = Session(server)
        _ = await session.run("submit", "--repo", "a/b", "x")
        _ = await session.run("submit", "--repo", "a/b", "x")
        let again = await session.run("submit", "--repo", "a/b", "x", "--idempotency-key", "nightly-42")
        #expect(again.lines[0] == "Task \(FakeTask.id) was submitted before with this key: acme/shop")
        let keys = server.requests.compactMap { $0.headers["Idempotency-Key"] }
        #expect(Set(keys).count == 3)
        #expect(keys.last == "nightly-42")
        let bad = await session.run("submit", "--repo", "a/b", "x", "--idempotency-key", "a b")
        #expect(bad.code == .failure)
        #expect(server.requests.count == 3)
    }

    @Test func `stdin is the text and the whole timeline follows with --wait`() async throws {
        let task = FakeTask(["task_created", "task_completed"])
        let server = try ScriptedServer { $0.method == "POST" ? .json(201, Self.accepted) : task.answer($0) }
        let session = Session(server, stdin: "fix\nthe test\n")
        let outcome = await session.run("submit", "--repo", "acme/shop", "-", "--wait")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(server.requests[0].body.contains(#""task_description":"fix\nthe test""#))
        #expect(outcome.output.contains("completed\n\nCOMPLETED"))
        let json = await session.run("submit", "--repo", "acme/shop", "-", "--wait", "-o", "json")
        let lines = try json.output.split(separator: "\n").map { try JSONValue(parsing: Array($0.utf8)) }
        #expect(
            lines.map { $0.text("status") ?? $0.text("event_type") } == [
                "SUBMITTED", "task_created", "task_completed", "COMPLETED",
            ])
    }

    @Test func `a refusal says what to type`() async throws {
        let server = try ScriptedServer { _ in
            .json(
                422,
                #"{"error":{"code":"REPO_NOT_ONBOARDED","message":"acme/shop is not onboarded","request_id":"r1"}}"#)
        }
        let outcome = await Session(server).run("submit", "--repo", "acme/shop", "x")
        #expect(outcome.code == .failure)
        #expect(
            outcome.errors == """
                error: acme/shop is not onboarded (REPO_NOT_ONBOARDED, request r1)
                       bgagent repo list shows the repositories; an admin adds one: bgagent repo add OWNER/NAME

                """)
    }

    @Test func `something that is no gateway is told as such`() async throws {
        for answer in [
            ScriptedServer.Answer.json(200, "<html>"), .json(404, "nope"), .json(302, "", [("Location", "/login")]),
        ] {
            let server = try ScriptedServer { _ in answer }
            let outcome = await Session(server).run("list")
            #expect(outcome.code == .failure)
            #expect(outcome.errors.contains("Is \(server.url) the gateway?"))
        }
    }

    // MARK: - status, show, list, events

    @Test func `status waits for the end when asked to`() async throws {
        let server = try ScriptedServer { FakeTask(["task_failed"], finalStatus: "FAILED").answer($0) }
        let session = Session(server)
        #expect(await session.run("status", FakeTask.id).code == .success)
        let waited = await session.run("status", FakeTask.id.lowercased(), "--wait")
        #expect(waited.code == .failure)
        #expect(waited.output.contains("FAILED"))
        #expect(await session.run("show", FakeTask.id, "-o", "json").output.contains("\"status\" : \"FAILED\""))
    }

    @Test func `a list follows its pages as far as asked`() async throws {
        let server = try ScriptedServer { request in
            let from = request.query["next_token"].flatMap { Int($0) } ?? 0
            let count = min(100, request.query["limit"].flatMap { Int($0) } ?? 20)
            let last = min(250, from + count)
            let rows = (from..<last).map { "{\"task_id\":\"T\($0)\",\"status\":\"QUEUED\",\"repo\":\"a/b\"}" }
            let token = last < 250 ? "\"\(last)\"" : "null"
            return .json(
                200,
                "{\"data\":[\(rows.joined(separator: ","))],\"pagination\":{\"next_token\":\(token),\"has_more\":\(last < 250)}}"
            )
        }
        let session = Session(server)
        #expect(await session.run("list").lines.count == 22)
        #expect(await session.run("list", "--limit", "150").lines.count == 152)
        #expect(await session.run("list", "--all").lines.count == 252)
        let all = try JSONValue(parsing: Array(await session.run("list", "--all", "-o", "json").output.utf8))
        #expect(all.array?.count == 250)
        _ = await session.run("list", "--status", "queued,running", "--repo", "a/b", "--limit", "1")
        #expect(server.requests.last?.query == ["status": "QUEUED,RUNNING", "repo": "a/b", "limit": "1"])
        #expect(await session.run("list", "--status", "RUNING").errors.contains("Did you mean RUNNING?"))
    }

    @Test func `events are paged by their ids`() async throws {
        let types = [String](repeating: "agent_turn", count: 250)
        let server = try ScriptedServer { FakeTask(types, finalStatus: nil).answer($0) }
        let session = Session(server)
        let some = await session.run("events", FakeTask.id)
        #expect(some.lines.count == 51)
        #expect(some.lines[0].hasPrefix(FakeTask.eventID(1)))
        #expect(some.errors.contains("--after \(FakeTask.eventID(50))"))
        #expect(await session.run("events", FakeTask.id, "--all").lines.count == 251)
        #expect(await session.run("events", FakeTask.id, "--all", "--desc").code == .failure)
        #expect(
            await session.run("events", FakeTask.id, "--type", "agent_trun").errors.contains("Did you mean agent_turn?")
        )
    }

    // MARK: - cancel

    @Test func `cancel says whether it is done or under way`() async throws {
        let status = Lock("CANCELLED")
        let server = try ScriptedServer { _ in
            let status = status.withLock { $0 }
            return .json(status == "CANCELLED" ? 200 : 202, "{\"data\":{\"task_id\":\"x\",\"status\":\"\(status)\"}}")
        }
        let session = Session(server)
        #expect(await session.run("cancel", FakeTask.id).output == "Task \(FakeTask.id) is cancelled.\n")
        status.withLock { $0 = "RUNNING" }
        let running = await session.run("cancel", FakeTask.id)
        #expect(running.code == .success)
        #expect(running.output.contains("is stopping; its work so far is pushed first."))
    }

    @Test func `a cancel whose answer was lost is not told as an error`() async throws {
        let task = FakeTask(["task_cancelled"], finalStatus: "CANCELLED")
        let calls = Lock(0)
        let server = try ScriptedServer { request in
            guard request.method == "DELETE" else { return task.answer(request) }
            let isFirst = calls.withLock { calls in
                calls += 1
                return calls == 1
            }
            return isFirst ? .lost : .json(409, #"{"error":{"code":"TASK_ALREADY_TERMINAL","message":"ended"}}"#)
        }
        let session = Session(server)
        let outcome = await session.run("cancel", FakeTask.id)
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(outcome.output == "Task \(FakeTask.id) is cancelled.\n")
        let late = await session.run("cancel", FakeTask.id)
        #expect(late.code == .failure)
        // What there is to type has the task's own id.
        #expect(late.errors.contains("bgagent status \(FakeTask.id) shows how."), "\(late.errors)")
    }

    @Test func `cancel waits for the end when asked to`() async throws {
        let task = FakeTask(["cancel_requested", "task_cancelled"], finalStatus: "CANCELLED", pace: 1)
        let server = try ScriptedServer { request in
            request.method == "DELETE" ? .json(202, #"{"data":{"status":"RUNNING"}}"#) : task.answer(request)
        }
        let outcome = await Session(server).run("cancel", FakeTask.id, "--wait")
        #expect(outcome.code == .success)
        #expect(outcome.output == "CANCELLED\n")
    }
}
