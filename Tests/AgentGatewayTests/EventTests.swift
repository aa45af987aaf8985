import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import AgentGateway

@Suite struct EventTests {
    private func batch(_ numbers: ClosedRange<Int>, attempt: Int = 1) -> JSONValue {
        [
            "attempt": JSONValue(attempt),
            "events": .array(
                numbers.map { number in
                    [
                        "client_seq": JSONValue(number), "event_type": "agent_turn",
                        "metadata": ["turn": JSONValue(number), "text_preview": "t"],
                    ]
                }),
        ]
    }

    private func request(_ body: String) -> Request {
        Request(method: "POST", target: "/session/events", body: .bytes(Array(body.utf8)))
    }

    private func turns(_ bench: Bench) throws -> [Int64] {
        try bench.events(.agentTurn).compactMap { $0["turn"]?.integer }
    }

    @Test func `events are taken once and in order, whatever is repeated`() async throws {
        try await Bench.with { bench in
            for (numbers, last) in [(1...3, 3), (1...3, 3), (2...5, 5), (6...6, 6), (1...1, 6)] {
                let answer = try await bench.harness("POST", "/session/events", batch(numbers))
                #expect(answer.status == 200)
                #expect(answer.data == ["last_client_seq": JSONValue(last)])
            }
            #expect(try turns(bench) == [1, 2, 3, 4, 5, 6])
            #expect(try bench.events().map(\.seq) == [1, 2, 3, 4, 5, 6])
            let session = try await bench.harness("GET", "/session")
            #expect(session.data["last_client_seq"] == 6)
        }
    }

    @Test func `a gap is refused with the number that is missing`() async throws {
        try await Bench.with { bench in
            _ = try await bench.harness("POST", "/session/events", batch(1...2))
            let gap = try await bench.harness("POST", "/session/events", batch(4...5))
            #expect(gap.status == 409)
            #expect(gap.code == "SEQUENCE_GAP")
            #expect(gap.body["error"]?["expected"] == 3)
            #expect(try turns(bench) == [1, 2])
        }
    }

    @Test func `the same batch sent at once by many hands is taken once`() async throws {
        try await Bench.with { bench in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask { try await bench.harness("POST", "/session/events", batch(1...20)).status }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.allSatisfy { $0 == 200 || $0 == 503 })
            #expect(try turns(bench) == (1...20).map(Int64.init))
        }
    }

    @Test func `an old attempt tells nothing any more`() async throws {
        try await Bench.with { bench in
            try bench.moveToSecondAttempt(keepsTokens: true)
            let stale = try await bench.harness("POST", "/session/events", batch(1...1))
            #expect(stale.status == 410)
            let foreign = try await bench.harness("POST", "/session/events", attempt: 2, batch(1...1))
            #expect(foreign.status == 410)
            let current = try await bench.harness("POST", "/session/events", attempt: 2, batch(1...1, attempt: 2))
            #expect(current.status == 200)
            #expect(try turns(bench) == [1])
        }
    }

    @Test func `secrets, zero bytes and long texts do not reach the timeline`() async throws {
        try await Bench.with { bench in
            let key = "AKIA" + "IOSFODNN7EXAMPLE"
            let long = String(repeating: "é", count: 5000)
            let list = JSONValue.array(Array(repeating: .string(long), count: 20))
            let metadata: [JSONValue] = [
                ["a": .string("x \(key)\0y"), "b": [["c": .string("https://u:secret@host")]], "n": 1],
                ["t": .string(long)],
                ["many": list],
            ]
            let events = metadata.enumerated().map { index, metadata -> JSONValue in
                ["client_seq": JSONValue(index + 1), "event_type": "agent_error", "metadata": metadata]
            }
            let answer = try await bench.harness(
                "POST", "/session/events", ["attempt": 1, "events": .array(events)])
            #expect(answer.status == 200)
            let kept = try bench.events(.agentError)
            #expect(kept[0]["a"] == "x [redacted AWS key]\u{FFFD}y")
            #expect(kept[0]["b"] == [["c": "https://u:[redacted password]@host"]])
            #expect(kept[1]["t"]?.string?.count == EventIntake.maxString)
            #expect(kept[2] == ["truncated": true])
        }
    }

    @Test(arguments: [
        #"[{"client_seq":1,"event_type":"task_completed","metadata":{}}]"#,
        #"[{"client_seq":1,"event_type":"agent_cost_update","metadata":{"cost_usd":0}}]"#,
        #"[{"client_seq":1,"event_type":"nonsense"}]"#, #"[{"client_seq":0,"event_type":"agent_turn"}]"#,
        #"[{"client_seq":"1","event_type":"agent_turn"}]"#, #"[{"event_type":"agent_turn"}]"#, "[7]", "{}",
        #"[{"client_seq":1,"event_type":"agent_turn","metadata":[]}]"#,
        #"[{"client_seq":1,"event_type":"agent_turn"},{"client_seq":3,"event_type":"agent_turn"}]"#,
    ])
    func `what is not an agent's to tell is refused whole`(events: String) throws {
        let request = request(#"{"attempt":1,"events":\#(events)}"#)
        let refusal = #expect(throws: Refusal.self) { try EventIntake.Batch(Fields(request)) }
        #expect(refusal?.code == "VALIDATION_ERROR")
    }

    @Test func `a batch has at most a hundred events`() throws {
        #expect(try EventIntake.Batch(Fields(request(batch(1...100).text))).events.count == 100)
        #expect(throws: Refusal.self) { try EventIntake.Batch(Fields(request(batch(1...101).text))) }
    }

    @Test func `an empty batch asks for the last number`() async throws {
        try await Bench.with { bench in
            let answer = try await bench.harness("POST", "/session/events", ["attempt": 1, "events": []])
            #expect(answer.data == ["last_client_seq": 0])
        }
    }
}
