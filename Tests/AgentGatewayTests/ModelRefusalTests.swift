import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import AgentGateway

@Suite struct ModelRefusalTests {
    @Test func `a token of another scope, and none at all, open nothing`() async throws {
        try await Bench.with { bench in
            for token in [bench.token(.harness), bench.token(.git), "", "nonsense"] {
                let refused = try await bench.ask(token: token)
                #expect(refused.status == 401)
                #expect(refused.errorType == "authentication_error")
            }
        }
    }

    @Test func `an old attempt is refused, and so is one of a finished task`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        try await Bench.with(model: model) { bench in
            try bench.moveToSecondAttempt(keepsTokens: true)
            #expect(try await bench.ask().status == 401)
            #expect(try await bench.ask(token: bench.token(.model, attempt: 2)).status == 200)
            try bench.finish()
            #expect(try await bench.ask(token: bench.token(.model, attempt: 2)).status == 401)
            #expect(model.requests.count == 1)
        }
    }

    @Test(arguments: [
        (400, "invalid_request_error"), (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"),
        (529, "overloaded_error"),
    ])
    func `what the model refuses is passed on as it is and costs nothing`(status: Int, type: String) async throws {
        let body = #"{"type":"error","error":{"type":"\#(type)","message":"no"},"request_id":"req_2"}"#
        let model = try FakeModel { _ in
            .response(.json(body.utf8, status: status, headers: ["Retry-After": "17", "request-id": "req_2"]))
        }
        try await Bench.with(model: model) { bench in
            let answer = try await bench.ask()
            #expect(answer.status == status)
            #expect(answer.text == body)
            #expect(answer.headers["Retry-After"] == "17")
            #expect(answer.headers["request-id"] == "req_2")
            #expect(try bench.spent() == 0)
            #expect(try bench.openCalls() == 0)
            #expect(try bench.events().isEmpty)
        }
    }

    @Test func `a model that is not there is worth another try`() async throws {
        try await Bench.with { bench in
            let answer = try await bench.ask()
            #expect(answer.status == 529)
            #expect(answer.errorType == "overloaded_error")
            #expect(answer.headers["Retry-After"] != nil)
            #expect(!answer.text.contains("127.0.0.1"))
            #expect(try bench.openCalls() == 0)
        }
    }

    @Test func `a model that never answers is worth another try`() async throws {
        let silence = Source()
        let model = try FakeModel { _ in
            var buffer = [UInt8](repeating: 0, count: 1)
            _ = try? buffer.withUnsafeMutableBytes { try silence.read(into: $0) }
            return .response(Response(status: 200))
        }
        let options = Bench.Options(variables: ["BGAGENT_MODEL_SILENCE": "100ms"])
        try await Bench.with(model: model, options) { bench in
            let answer = try await bench.ask()
            silence.end()
            #expect(answer.status == 529)
            #expect(try bench.openCalls() == 0)
            #expect(try bench.spent() == 0)
        }
    }

    @Test func `without a key the agent hears why at once`() async throws {
        try await Bench.with(.init(variables: ["BGAGENT_MODEL_API_KEY": ""])) { bench in
            let answer = try await bench.ask()
            #expect(answer.status == 403)
            #expect(answer.errorType == "permission_error")
        }
    }

    @Test func `a body that is too large, no JSON, or twofold stays here`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        let options = Bench.Options(variables: ["BGAGENT_MODEL_MAX_BODY": "4096"])
        try await Bench.with(model: model, options) { bench in
            #expect(try await bench.ask(String(repeating: " ", count: 5000)).status == 413)
            for body in ["", "{", "[]", #"{"model":"a","model":"claude-sonnet-4-5"}"#] {
                let refused = try await bench.ask(body)
                #expect(refused.status == 400)
                #expect(refused.errorType == "invalid_request_error")
            }
            #expect(model.requests.isEmpty)
        }
    }

    @Test func `tokens are counted without a charge`() async throws {
        let model = try FakeModel { _ in .response(.json(#"{"input_tokens":4}"#.utf8)) }
        try await Bench.with(model: model, .init(budget: "0.01")) { bench in
            let body = #"{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"Hi"}]}"#
            let answer = try await bench.ask(body, path: "/model/v1/messages/count_tokens?beta=true")
            #expect(answer.text == #"{"input_tokens":4}"#)
            #expect(model.requests.first?.path == "/v1/messages/count_tokens")
            #expect(try bench.spent() == 0)
        }
    }

    @Test func `longer answers than allowed are asked for shorter, and nothing else is changed`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        try await Bench.with(model: model, .init(variables: ["BGAGENT_MODEL_MAX_TOKENS": "500"])) { bench in
            _ = try await bench.ask()
            let sent = String(decoding: try model.bodies.first ?? [], as: UTF8.self)
            #expect(sent == Bench.prompt.split(separator: "1000").joined(separator: "500"))
        }
    }

    @Test func `what a dead process left is charged by its estimate`() async throws {
        let model = try FakeModel { _ in Said.stream(Said.whole) }
        try await Bench.with(model: model, .init(budget: "0.01")) { bench in
            let connection = try bench.connection()
            try connection.query(
                """
                INSERT INTO model_calls (task_id, attempt, gateway, model, estimate_usd, alive_until)
                VALUES (\(bench.task.rawValue), 1, 'dead', 'claude-sonnet-4-5', 0.006, clock_timestamp() + '1 hour')
                """)
            // As long as it may be alive, its money is kept back.
            #expect(try await bench.ask().status == 429)
            try connection.query("UPDATE model_calls SET alive_until = clock_timestamp() - interval '1 second'")
            #expect(try await bench.ask().status == 200)
            #expect(try bench.spent() == 14_100)
            let told = try bench.events(.agentCostUpdate)
            #expect(told.map { $0["estimated"]?.bool } == [true, nil])
            #expect(try await bench.ask().status == 402)
        }
    }

    @Test func `a sweep charges what nobody asks about any more`() async throws {
        try await Bench.with { bench in
            let ledger = ModelLedger(pool: bench.pool, gateway: "new", life: .seconds(60))
            let connection = try bench.connection()
            try connection.query(
                """
                INSERT INTO model_calls (task_id, attempt, gateway, model, estimate_usd, alive_until)
                VALUES (\(bench.task.rawValue), 1, 'dead', 'm', 0.006, clock_timestamp() - interval '1 second'),
                    (\(bench.task.rawValue), 1, 'new', 'm', 0.001, clock_timestamp() - interval '1 second')
                """)
            try await onThread { try ledger.keep() }
            #expect(try bench.spent() == 6000)
            #expect(try bench.openCalls() == 1)
        }
    }

    @Test func `a call that was taken for dead pays only the rest`() async throws {
        try await Bench.with { bench in
            let spent = try await onThread {
                let mine = ModelLedger(pool: bench.pool, gateway: "frozen", life: .milliseconds(1))
                let other = ModelLedger(pool: bench.pool, gateway: "other", life: .seconds(60))
                let session = try #require(
                    try SessionStore.load(bench.task, attempt: 1, in: bench.connection()))
                let (_, made) = try mine.reserve(session, model: "m", estimate: USD(micros: 100), budget: nil)
                let call = try #require(made)
                try bench.connection().query("UPDATE model_calls SET alive_until = '-infinity'")
                try other.keep()
                let cost = ModelCost(
                    cost: USD(micros: 130), usage: TokenUsage(), model: "m", isPriceKnown: true)
                try mine.settle(call, cost)
                return try bench.spent()
            }
            #expect(spent == 130)
        }
    }

    @Test func `nothing is told behind a final event, but the money is counted`() async throws {
        let source = Source(Said.start)
        let model = try FakeModel { _ in .stream(status: 200, headers: Said.headers, reader: source) }
        try await Bench.with(model: model) { bench in
            let answer = try await onThread { try bench.open() }
            try bench.finish()
            source.put(Said.end(output: 70))
            source.end()
            try await onThread { while try answer.read() != nil {} }
            #expect(try bench.spent() == 8100)
            #expect(try bench.events().isEmpty)
        }
    }
}
