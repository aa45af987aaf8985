import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry
import TestSupport
import Testing
import Threads

@testable import AgentGateway

@Suite struct ModelProxyTests {
    @Test func `an answer passes byte for byte, each part as it comes`() async throws {
        let source = Source()
        let model = try FakeModel { _ in .stream(status: 200, headers: Said.headers, reader: source) }
        try await Bench.with(model: model) { bench in
            let parts = [Said.start, Said.delta("Hel"), Said.delta("lo"), Said.end(output: 70)]
            try await onThread {
                source.put(parts[0])
                let answer = try bench.open()
                #expect(answer.status == 200)
                #expect(answer.headers["Content-Type"] == "text/event-stream; charset=utf-8")
                #expect(answer.headers["request-id"] == "req_1")
                for (index, part) in parts.enumerated() {
                    // The next part is not even sent before this one has arrived.
                    #expect(try text(answer, part.utf8.count) == part)
                    if index + 1 < parts.count { source.put(parts[index + 1]) }
                }
                // The call is booked before its last byte is handed on, not after.
                #expect(try bench.spent() == 8100)
                source.end()
                #expect(try answer.read() == nil)
            }
            let request = try #require(model.requests.first)
            #expect(try request.body.load() == Array(Bench.prompt.utf8))
            #expect(request.rawQuery == "beta=true")
            #expect(request.headers["x-api-key"] == Bench.modelKey)
            #expect(request.headers["Authorization"] == nil)
            #expect(request.headers["anthropic-version"] == "2023-06-01")
            #expect(request.headers["anthropic-beta"] == "one,two")
            #expect(request.headers["User-Agent"] == "claude-cli/2.1.329 (external, sdk-py)")
        }
    }

    @Test func `what a call cost is told to the millionth, cache and all`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        try await Bench.with(model: model) { bench in
            let answers = [try await bench.ask(), try await bench.ask()]
            #expect(answers.map(\.text) == [Said.whole, Said.whole])
            #expect(try bench.spent() == 16_200)
            #expect(try bench.openCalls() == 0)
            let told: JSONValue = [
                "cost_usd": .number(0.0081), "total_cost_usd": .number(0.0162), "input_tokens": 1000,
                "output_tokens": 70, "cache_read_tokens": 5000, "cache_creation_tokens": 500,
                "model": "claude-sonnet-4-5-20250929", "turn": 3,
            ]
            #expect(try bench.events(.agentCostUpdate).last == told)
            #expect(try bench.events(.budgetWarning).isEmpty)
            let metrics = bench.metrics.exposition()
            #expect(metrics.contains(#"bgagent_model_requests_total{model="claude-sonnet-4-5",status="200"} 2"#))
            #expect(metrics.contains(#"bgagent_model_tokens_total{model="claude-sonnet-4-5",kind="output"} 140"#))
            #expect(metrics.contains("bgagent_model_requests_in_flight 0"))
        }
    }

    @Test func `an answer in one piece is metered too`() async throws {
        let answer =
            #"{"type":"message","model":"claude-haiku-4-5","content":[],"usage":{"input_tokens":10,"output_tokens":3}}"#
        let model = try FakeModel { _ in .response(.json(answer.utf8)) }
        try await Bench.with(model: model) { bench in
            let body =
                #"{"model":"claude-haiku-4-5-20251001","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#
            let told = try await bench.ask(body)
            #expect(told.text == answer)
            #expect(try bench.spent() == 25)
        }
    }

    @Test func `a spent budget is refused for good, warned of and told once`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        try await Bench.with(model: model, .init(budget: "0.01")) { bench in
            let first = try await bench.ask()
            #expect(first.status == 200)
            #expect(
                try bench.events(.budgetWarning) == [["cost_usd": .number(0.0081), "max_budget_usd": .number(0.01)]])
            #expect(try await bench.ask().status == 200)
            for _ in 0..<2 {
                let refused = try await bench.ask()
                #expect(refused.status == 402)
                #expect(refused.errorType == "budget_exhausted")
            }
            #expect(model.requests.count == 2)
            #expect(try bench.events(.budgetWarning).count == 1)
            #expect(
                try bench.events(.budgetExhausted) == [["cost_usd": .number(0.0162), "max_budget_usd": .number(0.01)]])
        }
    }

    @Test func `requests at once pass a budget by one answer at most`() async throws {
        let source = Source(Said.start)
        let model = try FakeModel { _ in .stream(status: 200, headers: Said.headers, reader: source) }
        try await Bench.with(model: model, .init(budget: "0.01")) { bench in
            let first = try await onThread { try bench.open() }
            for _ in 0..<3 {
                let refused = try await bench.ask()
                #expect(refused.status == 429)
                #expect(refused.headers["Retry-After"] == "1")
            }
            source.put(Said.end(output: 900))
            source.end()
            try await onThread { while try first.read() != nil {} }
            #expect(model.requests.count == 1)
            #expect(try await bench.ask().status == 402)
        }
    }

    @Test func `a session has four requests at once, and none of them holds a connection`() async throws {
        let answered = Condition(0)
        let model = try FakeModel { _ in
            let number = answered.update { count in
                count += 1
                return count
            }
            return number <= 4
                ? .stream(status: 200, headers: Said.headers, reader: Source(Said.start)) : Said.stream(Said.whole)
        }
        try await Bench.with(model: model, .init(poolSize: 2)) { bench in
            let open = try await onThread { try (0..<4).map { _ in try bench.open() } }
            let refused = try await bench.ask()
            #expect(refused.status == 429)
            #expect(refused.errorType == "rate_limit_error")
            #expect(bench.pool.usage.open == bench.pool.usage.idle)
            for answer in open { answer.close() }
            try await eventually("the places are free") { try await bench.ask().status == 200 }
        }
    }

    @Test func `a stream that breaks off is paid for as far as it came`() async throws {
        let model = try FakeModel { _ in
            let source = Source(Said.start + Said.delta(String(repeating: "word", count: 100)))
            source.fail()
            return .stream(status: 200, headers: Said.headers, reader: source)
        }
        try await Bench.with(model: model) { bench in
            try await onThread {
                let answer = try bench.open()
                #expect(throws: HTTPClientError.self) { while try answer.read() != nil {} }
            }
            // 7,050 for what went in, and about a hundred tokens that came out.
            let spent = try await eventually("the call is booked") { try bench.spent() > 0 ? bench.spent() : nil }
            #expect(spent > 8400 && spent < 8700)
            #expect(try bench.openCalls() == 0)
        }
    }

    @Test func `an agent that leaves pays for what it was sent`() async throws {
        let model = try FakeModel { _ in
            .stream(status: 200, headers: Said.headers, reader: Source(Said.start + Said.delta("x")))
        }
        try await Bench.with(model: model) { bench in
            try await onThread {
                let answer = try bench.open()
                _ = try answer.read()
                answer.close()
            }
            try await eventually("the call is booked") { try bench.spent() >= 7065 && bench.openCalls() == 0 }
        }
    }

    private func text(_ stream: StreamingResponse, _ count: Int) throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < count, let part = try stream.read() { bytes += part }
        return String(decoding: bytes, as: UTF8.self)
    }
}
