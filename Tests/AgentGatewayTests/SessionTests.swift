import Domain
import HTTPClient
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing
import Threads

@testable import AgentGateway

@Suite struct SessionTests {
    @Test func `an agent waits until its task runs and is then told all`() async throws {
        try await Bench.with(.init(isRunning: false)) { bench in
            for _ in 0..<2 {
                let early = try await bench.harness("GET", "/session")
                #expect(early.status == 202)
                #expect(early.data == ["state": "starting"])
            }
            #expect(try bench.commands() == ["session_started"])
            try bench.connection().query("UPDATE tasks SET status = 'RUNNING', cancel_requested_at = now()")
            let told = try await bench.harness("GET", "/session")
            #expect(told.status == 200)
            #expect(told.data["payload_version"] == 1)
            #expect(told.data["cancel_requested"] == true)
            #expect(told.data["last_client_seq"] == 0)
            #expect(told.data["limits"]?["max_turns"] == 10)
            let left = try #require(told.data["limits"]?["remaining_s"]?.integer)
            #expect((900...1000).contains(left))
            #expect(try bench.commands() == ["session_started"])
        }
    }

    @Test(arguments: [
        (nil, true), ("1", true), ("1-1", true), ("1-7", true), ("0-1", true), ("2-3", false), ("0-0", false),
        ("1-2-3", false), ("", false), ("x", false), ("-", false), ("2-1", false),
    ])
    func `payload versions fit or do not`(range: String?, fits: Bool) {
        #expect(SessionRoutes.accepts(range) == fits)
    }

    @Test func `an agent of another release ends the attempt with the reason`() async throws {
        try await Bench.with { bench in
            let answer = Answer(
                try await bench.call(
                    "GET", "/session", token: bench.token(.harness), headers: ["X-Payload-Versions": "2-3"]))
            #expect(answer.status == 406)
            #expect(answer.code == "PAYLOAD_VERSION_UNSUPPORTED")
            #expect(try bench.commands() == ["session_ended"])
            let result = try SessionStore.result(bench.task, attempt: 1, in: bench.connection())
            #expect(result?["outcome"] == "failed")
            #expect(result?["error"]?["code"] == "payload_version_unsupported")
        }
    }

    @Test func `a heartbeat renews the lease, brings news, and stops an old attempt`() async throws {
        try await Bench.with { bench in
            let connection = try bench.connection()
            func secondsLeft() throws -> Double {
                try connection.query(
                    "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 AS left FROM sessions"
                ).only().get("left", as: Double.self)
            }
            // Even one that is over, as long as nobody took the task away.
            try connection.query("UPDATE sessions SET lease_until = clock_timestamp() - interval '1 second'")
            let beat: JSONValue = ["attempt": 1, "turn": 4, "tool": "Bash"]
            let answer = try await bench.harness("POST", "/session/heartbeat", beat)
            #expect(answer.status == 200)
            #expect(answer.data["cancel_requested"] == false)
            #expect(answer.data["remaining_s"]?.integer.map { $0 > 900 } == true)
            #expect(try secondsLeft() > 0)
            try connection.query("UPDATE tasks SET cancel_requested_at = now()")
            let told = try await bench.harness("POST", "/session/heartbeat", beat)
            #expect(told.data["cancel_requested"] == true)
            let older = try await bench.harness("POST", "/session/heartbeat", ["attempt": 2])
            #expect(older.code == "STALE_EPOCH")
            try connection.query("UPDATE tasks SET cancel_requested_at = NULL")
            try bench.moveToSecondAttempt(keepsTokens: true)
            let late = try await bench.harness("POST", "/session/heartbeat", beat)
            #expect(late.status == 410)
            #expect(late.code == "STALE_EPOCH")
        }
    }

    @Test func `what is in the inbox is told at once, and what comes later when it comes`() async throws {
        try await Bench.with(.init(variables: ["BGAGENT_INBOX_POLL": "2ms"])) { bench in
            let empty = try await bench.harness("GET", "/session/inbox?wait=0")
            #expect(empty.data["items"]?.array == [])
            async let waiting = bench.harness("GET", "/session/inbox?wait=25")
            let connection = try bench.connection()
            try InboxStore.put("cancel", for: bench.task, ["reason": "enough"], in: connection)
            let woken = try await waiting
            let item = try #require(woken.data["items"]?.array?.first)
            #expect(item["kind"] == "cancel")
            #expect(item["reason"] == "enough")
            let again = try await bench.harness("GET", "/session/inbox?wait=25")
            #expect(again.data["items"]?.array?.count == 1)
        }
    }

    @Test func `an agent that waits looks at once when it rings, and its seat is free afterwards`() async throws {
        // It would look by itself only after its caller has given up.
        try await Bench.with(.init(variables: ["BGAGENT_INBOX_POLL": "60s"])) { bench in
            async let waiting = bench.harness("GET", "/session/inbox?wait=25")
            try await eventually("it sits") { bench.bell.count == 1 }
            let connection = try bench.connection()
            try InboxStore.put("cancel", for: bench.task, ["reason": "enough"], in: connection)
            bench.bell.ring(bench.task)
            #expect(try await waiting.data["items"]?.array?.count == 1)
            try await eventually("it has left") { bench.bell.count == 0 }
        }
    }

    @Test func `a ring is heard by those who sit at that task, before they wait as well`() throws {
        let one = try #require(TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        let two = try #require(TaskID(rawValue: "01ARZ3NDEKTSV4RRFFQ69G5FAW"))
        let bell = InboxBell()
        let (seat, other) = (bell.sit(one), bell.sit(two))
        bell.ring(one)
        #expect(seat.wait(.seconds(30)))
        #expect(!seat.wait(.zero))
        #expect(!other.wait(.zero))
        bell.leave(seat, one)
        bell.ring(one)
        #expect(!seat.wait(.zero))
        #expect(bell.count == 1)
    }

    @Test func `a receipt takes an item out of the inbox`() async throws {
        try await Bench.with { bench in
            let connection = try bench.connection()
            for kind in ["nudge", "cancel"] { try InboxStore.put(kind, for: bench.task, [:], in: connection) }
            let told = try await bench.harness("GET", "/session/inbox")
            let ids = try #require(told.data["items"]?.array?.compactMap { $0["id"]?.string })
            #expect(ids.count == 2)
            for (id, status) in zip(ids, ["acknowledged", "delivered"]) {
                for _ in 0..<2 {
                    let answer = try await bench.harness(
                        "POST", "/session/inbox/\(id)/receipt", ["attempt": 1, "status": .string(status)])
                    #expect(answer.status == 200)
                }
            }
            let left = try await bench.harness("GET", "/session/inbox")
            #expect(left.data["items"]?.array == [])
            let delivered = try connection.query(
                "SELECT count(*) AS n FROM inbox WHERE acknowledged_at IS NOT NULL AND delivered_at IS NULL"
            ).only().get("n", as: Int64.self)
            #expect(delivered == 1)
            let unknown = try await bench.harness(
                "POST", "/session/inbox/01ARZ3NDEKTSV4RRFFQ69G5FAV/receipt", ["attempt": 1, "status": "delivered"])
            #expect(unknown.status == 404)
            let wrong = try await bench.harness(
                "POST", "/session/inbox/\(ids[0])/receipt", ["attempt": 1, "status": "read"])
            #expect(wrong.code == "VALIDATION_ERROR")
        }
    }

    @Test func `a result is taken once, however often it is told`() async throws {
        try await Bench.with { bench in
            let result: JSONValue = [
                "attempt": 1, "outcome": "completed", "turns": 7, "commit": nil, "branch": .string(bench.branch),
                "summary": .string("done with AKIA" + "IOSFODNN7EXAMPLE"),
            ]
            for _ in 0..<3 {
                let answer = try await bench.harness("POST", "/session/result", result)
                #expect(answer.status == 200)
            }
            #expect(try bench.commands() == ["session_ended"])
            let kept = try SessionStore.result(bench.task, attempt: 1, in: bench.connection())
            #expect(kept?["summary"] == "done with [redacted AWS key]")
            // Behind the result nothing is taken any more.
            let late = try await bench.harness(
                "POST", "/session/events",
                ["attempt": 1, "events": [["client_seq": 1, "event_type": "agent_turn", "metadata": [:]]]])
            #expect(late.status == 410)
            let beat = try await bench.harness("POST", "/session/heartbeat", ["attempt": 1])
            #expect(beat.status == 410)
        }
    }

    @Test func `an old attempt's result is refused`() async throws {
        try await Bench.with { bench in
            let result: JSONValue = ["attempt": 1, "outcome": "completed"]
            try bench.moveToSecondAttempt(keepsTokens: true)
            let stale = try await bench.harness("POST", "/session/result", result)
            #expect(stale.status == 410)
            try bench.finish()
            let dead = try await bench.harness("POST", "/session/result", attempt: 2, ["attempt": 2])
            #expect(dead.status == 400)
            let gone = try await bench.harness(
                "POST", "/session/result", attempt: 2, ["attempt": 2, "outcome": "completed"])
            #expect(gone.status == 401)
        }
    }

    @Test(arguments: [
        ("events", ""), ("events", "[]"), ("events", "{"), ("events", #"{"attempt":1}"#),
        ("events", #"{"attempt":"1","events":[]}"#), ("heartbeat", "{}"), ("heartbeat", "null"),
        ("result", #"{"attempt":1,"outcome":"fine"}"#), ("result", #"{"attempt":1}"#),
        ("checkpoint", #"{"attempt":1,"turn":1,"commit":"--upload-pack=x"}"#),
        ("checkpoint", #"{"attempt":1,"commit":"0000000000000000000000000000000000000000"}"#),
    ])
    func `a body that is wrong is refused with the reason`(path: String, body: String) async throws {
        try await Bench.with { bench in
            let response = try await bench.call("POST", "/session/\(path)", token: bench.token(.harness), body)
            let answer = Answer(response)
            #expect(answer.status == 400)
            #expect(answer.code == "VALIDATION_ERROR")
            #expect(answer.body["error"]?["request_id"]?.string == answer.headers["X-Request-Id"])
            #expect(try bench.events().isEmpty)
        }
    }

    @Test func `bodies, paths and tokens that are not for it are refused`() async throws {
        try await Bench.with { bench in
            let long = String(repeating: " ", count: 1 << 20 | 1)
            let large = try await bench.call("POST", "/session/heartbeat", token: bench.token(.harness), long)
            #expect(large.status == 413)
            #expect(Answer(large).code == "PAYLOAD_TOO_LARGE")
            let none = try await bench.harness("GET", "/nothing")
            #expect(none.code == "NOT_FOUND")
            let method = try await bench.harness("DELETE", "/session")
            #expect(method.code == "METHOD_NOT_ALLOWED")
            for token in [nil, "", "x", bench.token(.git), bench.token(.model)] {
                for path in ["/session", "/session/inbox"] {
                    let refused = try await bench.call("GET", path, token: token)
                    #expect(refused.status == 401)
                }
                let events = try await bench.call("POST", "/session/heartbeat", token: token, #"{"attempt":1}"#)
                #expect(events.status == 401)
            }
        }
    }
}
