import Domain
import Testing

@testable import AgentGateway

@Suite struct MeterTests {
    private func metered(_ text: String, parts: Int) -> UsageMeter {
        var meter = UsageMeter()
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: parts) {
            bytes[start..<min(start + parts, bytes.count)].withUnsafeBytes { meter.feed($0) }
        }
        return meter
    }

    @Test(arguments: [1, 7, 100, 1 << 20])
    func `a stream is read whatever its parts are`(size: Int) {
        let meter = metered(Said.whole, parts: size)
        #expect(meter.isComplete && meter.isKnown)
        #expect(meter.model == "claude-sonnet-4-5-20250929")
        #expect(
            meter.counted
                == TokenUsage(input: 1000, output: 70, cacheWrite5m: 200, cacheWrite1h: 300, cacheRead: 5000))
    }

    @Test func `lines may end with a carriage return too`() {
        let text = Said.whole.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
        #expect(metered(text, parts: 10).counted.output == 70)
    }

    @Test func `counts are cumulative, and the last word stands`() {
        let text =
            Said.start
            + Said.event(
                "message_delta",
                #"{"type":"message_delta","usage":{"input_tokens":1100,"cache_read_input_tokens":6000,"#
                    + #""cache_creation_input_tokens":800,"output_tokens":20}}"#)
        #expect(
            metered(text, parts: 50).counted
                == TokenUsage(input: 1100, output: 20, cacheWrite5m: 500, cacheWrite1h: 300, cacheRead: 6000))
    }

    @Test(arguments: ["", "data: {\n\n", "event: message_start\ndata: {\"type\":\"message_start\"}\n\n", "\0\u{1}\n\n"])
    func `nonsense is not metered and does no harm`(text: String) {
        let meter = metered(text, parts: 3)
        #expect(!meter.isKnown && !meter.isComplete)
        #expect(meter.counted == TokenUsage())
    }

    @Test func `counts that cannot be are cut`() {
        let usage = #"{"input_tokens":-5,"output_tokens":9000000000000000000}"#
        let start = #"{"type":"message_start","message":{"usage":\#(usage)}}"#
        let counted = metered(Said.event("message_start", start), parts: 9).counted
        #expect(counted.input == 0)
        #expect(PriceTable.builtIn.price(of: "claude-opus-4-1").price.cost(of: counted).micros > 0)
    }

    @Test(arguments: [
        ("claude-sonnet-4-5-20250929", 3_000_000, true), ("claude-opus-4-5", 5_000_000, true),
        ("claude-opus-4-20250514", 15_000_000, true), ("claude-haiku-4-5", 1_000_000, true),
        ("claude-3-5-haiku-20241022", 800_000, true), ("gpt-9", 15_000_000, false), ("", 15_000_000, false),
    ])
    func `the longest prefix of a model's name decides its price`(model: String, input: Int64, isKnown: Bool) {
        let found = PriceTable.builtIn.price(of: model)
        #expect(found.price.input == input)
        #expect(found.isKnown == isKnown)
    }

    @Test func `a fraction of a millionth is rounded up once for a call`() {
        let price = ModelPrice(input: 1, output: 1, cacheWrite5m: 1, cacheWrite1h: 1, cacheRead: 1)
        #expect(price.cost(of: TokenUsage(input: 1, output: 1)).micros == 1)
        #expect(price.cost(of: TokenUsage(input: 1_000_000)).micros == 1)
        #expect(price.cost(of: TokenUsage(input: 1_000_000, cacheRead: 1)).micros == 2)
        #expect(price.cost(of: TokenUsage()).micros == 0)
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"models":{}}"#, #"{"models":{"a":{"input":1}}}"#,
        #"{"models":{"a":{"input":-1,"output":1,"cache_write_5m":1,"cache_write_1h":1,"cache_read":1}}}"#,
        #"{"models":{"a":{"input":"1","output":1,"cache_write_5m":1,"cache_write_1h":1,"cache_read":1}}}"#,
    ])
    func `a file that is no price table is refused`(text: String) {
        #expect(throws: PriceTable.Malformed.self) { try PriceTable(json: text.utf8) }
    }

    @Test(arguments: [
        (0, 0, 500, nil, BudgetVerdict.forward), (99, 0, 500, 100, .forward), (100, 0, 1, 100, .spent),
        (150, 0, 1, 100, .spent), (10, 50, 40, 100, .forward), (10, 50, 41, 100, .wait), (100, 50, 1, 100, .spent),
    ])
    func `money decides whether a call is made`(
        spent: Int64, reserved: Int64, estimate: Int64, budget: Int64?, expected: BudgetVerdict
    ) {
        let verdict = BudgetVerdict.decide(
            spent: USD(micros: spent), reserved: USD(micros: reserved), estimate: USD(micros: estimate),
            budget: budget.map(USD.init(micros:)))
        #expect(verdict == expected)
    }
}
