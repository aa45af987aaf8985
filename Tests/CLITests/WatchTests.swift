import Domain
import HTTPTypes
import Testing
import Threads

@testable import CLI

@Suite struct WatchTests {
    private static let turns = ["task_created"] + [String](repeating: "agent_milestone", count: 9) + ["task_completed"]

    /// The numbers of the events shown, in order, from NDJSON.
    private func seqs(_ outcome: Session.Outcome) throws -> [Int] {
        try outcome.output.split(separator: "\n").compactMap { line in
            try JSONValue(parsing: Array(line.utf8)).whole("seq")
        }
    }

    private func watch(
        _ task: FakeTask, _ words: String..., onPause: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws -> (outcome: Session.Outcome, server: ScriptedServer, session: Session) {
        let server = try ScriptedServer { task.answer($0) }
        let session = Session(server, onPause: onPause)
        return (await session.run(["watch", FakeTask.id] + words), server, session)
    }

    @Test func `events are shown as lines and the end tells how it went`() async throws {
        let task = FakeTask(
            ["task_created", "agent_turn", "pr_created", "task_completed"],
            detail: """
                ,"outcome":"completed","pr_url":"https://github.com/acme/shop/pull/7","turns":2,"cost_usd":0.42,\
                "created_at":"2026-03-01T11:00:00Z","started_at":"2026-03-01T11:00:10Z",\
                "completed_at":"2026-03-01T11:02:15Z"
                """)
        let outcome = try await watch(task).outcome
        #expect(outcome.code == .success)
        #expect(outcome.errors == "")
        #expect(outcome.lines.count == 8)
        #expect(outcome.lines[0].hasSuffix("  ○ submitted"))
        #expect(outcome.lines[1].hasSuffix("  ● turn 2"))
        #expect(
            Array(outcome.lines[4...]) == [
                "", "COMPLETED  after 2m 5s, 2 turns, $0.42", "Pull request  https://github.com/acme/shop/pull/7", "",
            ])
    }

    @Test(arguments: [
        ("task_failed", "FAILED"), ("task_stranded", "FAILED"), ("task_cancelled", "CANCELLED"),
        ("task_timed_out", "TIMED_OUT"),
    ])
    func `another end fails and says what to do`(last: String, status: String) async throws {
        let task = FakeTask(
            ["task_created", last], finalStatus: status,
            detail: #","error_classification":{"code":"c","title":"It broke","remedy":"Mend it"}"#)
        let outcome = try await watch(task).outcome
        #expect(outcome.code == .failure)
        #expect(outcome.output.hasSuffix("\(status)\n\nerror: It broke (c)\n       What to do: Mend it\n"))
    }

    @Test func `json is one object a line with the task at its end`() async throws {
        let outcome = try await watch(FakeTask(Self.turns, pace: 3), "--output", "json").outcome
        #expect(try seqs(outcome) == Array(1...11))
        let last = try #require(outcome.output.split(separator: "\n").last)
        #expect(try JSONValue(parsing: Array(last.utf8)).text("status") == "COMPLETED")
    }

    @Test func `a long timeline is read in pages without a pause between them`() async throws {
        let types = [String](repeating: "agent_turn", count: 450) + ["task_completed"]
        let (outcome, server, session) = try await watch(FakeTask(types), "-o", "json")
        #expect(try seqs(outcome) == Array(1...451))
        #expect(session.pauses.isEmpty)
        #expect(server.requests.filter { $0.path.hasSuffix("/events") }.count == 5)
    }

    @Test func `watching begins behind an event`() async throws {
        let outcome = try await watch(FakeTask(Self.turns), "-o", "json", "--after", FakeTask.eventID(4)).outcome
        #expect(try seqs(outcome) == Array(5...11))
    }

    @Test func `a task that has ended before is told at once`() async throws {
        let (outcome, server, session) = try await watch(
            FakeTask(Self.turns), "-o", "json", "--after", FakeTask.eventID(11))
        #expect(outcome.code == .success)
        #expect(session.pauses.isEmpty)
        #expect(server.requests.allSatisfy { $0.query["wait"] == nil })
    }

    @Test func `lost answers, busy answers and repeated pages neither skip nor double an event`() async throws {
        let whole = FakeTask(Self.turns, finalStatus: nil)
        let task = FakeTask(Self.turns, pace: 1) { call, request in
            switch call % 4 {
            case 1: .lost
            case 2: .json(503, #"{"error":{"code":"SERVICE_UNAVAILABLE","message":"busy"}}"#, [("Retry-After", "7")])
            case 3 where call < 20:
                // A page that ignores the cursor: what was shown already comes again.
                whole.answer(
                    ScriptedServer.Request(
                        method: "GET", path: request.path, query: ["limit": "2"], headers: [], body: ""))
            default: nil
            }
        }
        let (outcome, _, session) = try await watch(task, "-o", "json")
        #expect(outcome.code == .success)
        #expect(try seqs(outcome) == Array(1...11))
        #expect(session.pauses.contains(.seconds(7)))
        #expect(outcome.errors.contains("busy (SERVICE_UNAVAILABLE); trying again in 7s"))
    }

    @Test func `a restart of the gateway is waited for and told once`() async throws {
        let task = FakeTask(Self.turns, pace: 1)
        let slot = Lock<ScriptedServer?>(nil)
        let server = try ScriptedServer { task.answer($0) }
        slot.withLock { $0 = server }
        let session = Session(server) { number in
            let server = slot.withLock { $0 }
            if number == 4 { server?.stop() }
            if number == 40 { try? server?.restart() }
        }
        let outcome = await session.run("watch", FakeTask.id, "-o", "json")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(try seqs(outcome) == Array(1...11))
        let away = session.pauses.dropFirst(3).prefix(36).reduce(.zero, +)
        #expect(away > .seconds(120))
        #expect(outcome.errors.split(separator: "\n").count == 2)
        #expect(outcome.errors.contains("connection refused; trying again"))
        #expect(outcome.errors.contains("The gateway answers again."))
    }

    @Test func `pauses grow while nothing comes and begin anew with an event`() async throws {
        let task = FakeTask(Self.turns, pace: 0) { call, _ in
            call <= 6 || (8...10).contains(call)
                ? .json(200, #"{"data":[],"pagination":{"has_more":false}}"#)
                : call == 7
                    ? .json(200, "{\"data\":[{\"event_id\":\"\(FakeTask.eventID(1))\",\"seq\":1}],\"pagination\":{}}")
                    : nil
        }
        let server = try ScriptedServer { request in
            // Not final before its last event is out, so that the silence is waited through.
            request.path.hasSuffix("/status") ? .json(200, #"{"data":{"status":"RUNNING"}}"#) : task.answer(request)
        }
        let session = Session(server)
        let outcome = await session.run("watch", FakeTask.id, "-o", "json")
        #expect(try seqs(outcome) == Array(1...11))
        let half = Duration.milliseconds(500)
        #expect(
            session.pauses == [
                half, .seconds(1), .seconds(2), .seconds(5), .seconds(5), .seconds(5), .milliseconds(200), half,
                .seconds(1), .seconds(2),
            ])
    }

    @Test func `a gateway without long polls is polled`() async throws {
        let task = FakeTask(Self.turns, pace: 2) { _, request in
            request.query["wait"] == nil
                ? nil : .json(400, #"{"error":{"code":"VALIDATION_ERROR","message":"unknown parameter wait"}}"#)
        }
        let (outcome, server, _) = try await watch(task, "-o", "json")
        #expect(try seqs(outcome) == Array(1...11))
        #expect(server.requests.filter { $0.query["wait"] == "25" }.count == 1)
    }

    @Test func `the wait expires with a code of its own and the task goes on`() async throws {
        let task = FakeTask(["task_created"], finalStatus: nil)
        let (outcome, server, session) = try await watch(task, "--max-wait", "1m")
        #expect(outcome.code == .stillRunning)
        #expect(outcome.errors.contains("the task goes on (RUNNING)"))
        #expect(outcome.errors.contains("bgagent watch \(FakeTask.id)"))
        #expect(session.pauses.reduce(.zero, +) == .seconds(60))
        #expect(server.requests.allSatisfy { (Int($0.query["wait"] ?? "0") ?? 99) <= 25 })
    }

    @Test func `an outage that outlasts the wait is a wait that expired`() async throws {
        let task = FakeTask(["task_created"], finalStatus: nil)
        let server = try ScriptedServer { task.answer($0) }
        let session = Session(server) { [weak server] number in if number == 2 { server?.stop() } }
        let outcome = await session.run("watch", FakeTask.id, "--max-wait", "1m")
        #expect(outcome.code == .stillRunning, "\(outcome.errors)")
    }

    @Test func `a token that dies while watching ends the watch with what to do`() async throws {
        let task = FakeTask(Self.turns, pace: 1) { call, _ in
            call < 3
                ? nil : .json(401, #"{"error":{"code":"UNAUTHORIZED","message":"token revoked","request_id":"r9"}}"#)
        }
        let outcome = try await watch(task).outcome
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("token revoked (UNAUTHORIZED, request r9)"))
        #expect(outcome.errors.contains("BGAGENT_TOKEN"))
    }

    @Test func `an unknown task is told as such`() async throws {
        let server = try ScriptedServer { FakeTask([]).answer($0) }
        let outcome = await Session(server).run("watch", "01JZ0000000000000000000009")
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("bgagent list shows the tasks you may see."))
    }
}
