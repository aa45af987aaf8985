import Domain
import FoundationEssentials
import HTTPTypes
import Testing

@testable import CLI

@Suite struct RenderingTests {
    private let plain = Style(isColoured: false)
    private let coloured = Style(isColoured: true)

    private func json(_ text: String) throws -> JSONValue { try JSONValue(parsing: Array(text.utf8)) }

    // MARK: - status

    private static let running = """
        {"task_id":"01JZ0000000000000000000001","status":"RUNNING","repo":"acme/shop","issue_number":42,
        "elapsed_s":252,"turn":12,"max_turns":100,"last_milestone":{"name":"repo_setup_complete","age_s":182},
        "current_tool":"Bash","waiting_for":null,"cost_usd":"0.4231","max_budget_usd":5,"queue_position":null,
        "pr_url":null,"outcome":null,"error":null,"last_event":{"event_type":"agent_tool_call","seq":57,"age_s":4}}
        """
    private static let progressing = """
        {"task_id":"01JZ0000000000000000000004","status":"RUNNING","repo":"acme/shop","elapsed_s":900,"turn":20,
        "max_turns":100,"last_milestone":{"name":"progress","age_s":75,"details":"Done: found it. Next: rounding"},
        "current_tool":null,"waiting_for":null,"cost_usd":"1.2","max_budget_usd":5,
        "last_event":{"event_type":"agent_turn","seq":80,"age_s":2}}
        """
    private static let queued = """
        {"task_id":"01JZ0000000000000000000002","status":"QUEUED","repo":"acme/shop","elapsed_s":5,"turn":0,
        "max_turns":100,"waiting_for":"a free slot","cost_usd":0,"max_budget_usd":null,"queue_position":3,
        "estimated_wait_s":1200,"last_event":{"event_type":"admission_queued","seq":2,"age_s":5}}
        """
    private static let failed = """
        {"task_id":"01JZ0000000000000000000003","status":"FAILED","repo":"acme/shop","elapsed_s":7384,"turn":31,
        "max_turns":100,"last_milestone":{"name":"verify_failed","age_s":60},"cost_usd":1.5,"max_budget_usd":2,
        "pr_url":"https://github.com/acme/shop/pull/7","outcome":"verification_failed",
        "error":{"code":"verification_failed","category":"agent","title":"The tests still fail",
        "description":"make test exits with 2.\\n3 of 41 tests fail.","remedy":"Look at the draft pull request.",
        "retryable":true},"last_event":{"event_type":"task_failed","seq":90,"age_s":60}}
        """

    @Test(arguments: [
        (running, "status-running.txt"), (queued, "status-queued.txt"), (failed, "status-failed.txt"),
        (progressing, "status-progress.txt"), ("{}", "status-empty.txt"),
    ])
    func `status prints its fixed lines`(snapshot: String, file: String) throws {
        let lines = StatusPage(try json(snapshot)).lines(style: plain)
        try Golden.expect(lines.joined(separator: "\n") + "\n", matches: file)
    }

    // MARK: - events

    @Test func `every type of event has words of its own`() throws {
        var lines: [String] = []
        for type in TaskEventType.allCases {
            let event = try json(
                """
                {"event_type":"\(type.rawValue)","timestamp":"nonsense","metadata":{"turn":3,"text_preview":"I look",
                "tool_name":"Bash","tool_input_preview":"make test","content_preview":"ok","milestone":"repo_cloned",
                "cost_usd":0.0123,"input_tokens":900,"output_tokens":80,"reason":"a reason","repo":"acme/shop",
                "issue_number":42,"error_type":"ToolError","message_preview":"it broke","kind":"missing_secret",
                "detail":"no key","resource":"NPM_TOKEN","message":"also the docs","question":"which one?",
                "answer":"the second","summary":"push to main","decision":"approved","decided_by":"ada",
                "pr_url":"https://github.com/acme/shop/pull/7","title":"a title","cancelled_by":"ada","attempt":2,
                "outcome":"no_change","max_budget_usd":5,"token_estimate":1200}}
                """)
            lines.append("\(type.rawValue)\n    \(EventLine(event).rendered(style: plain, width: nil))")
        }
        try Golden.expect(lines.joined(separator: "\n") + "\n", matches: "events.txt")
    }

    @Test func `every type of event has something to say without metadata`() throws {
        for type in TaskEventType.allCases {
            let line = EventLine(try json("{\"event_type\":\"\(type.rawValue)\"}")).rendered(style: plain, width: nil)
            #expect(line.hasPrefix("--:--:--  "))
            #expect(line.utf8.count > "--:--:--  · ".utf8.count, "\(type)")
            #expect(!line.contains("nil") && !line.contains("Optional"))
        }
    }

    @Test func `an event of a newer gateway shows its name and fields`() throws {
        let event = try json(#"{"event_type":"moon_landed","metadata":{"b":[1],"a":"x"}}"#)
        #expect(EventLine(event).rendered(style: plain, width: nil) == "--:--:--  · moon_landed  a=x  b=[1]")
    }

    @Test func `an event line stays within the terminal`() throws {
        let long = String(repeating: "a long word ", count: 40)
        let event = try json(#"{"event_type":"agent_turn","metadata":{"turn":1,"text_preview":"\#(long)"}}"#)
        let line = EventLine(event).rendered(style: plain, width: 60)
        #expect(Text.width(line) <= 60)
        #expect(line.hasSuffix("…"))
    }

    @Test func `a page shows what a task retries, what it may do unasked, and one line of a long text`() throws {
        let task = try json(#"{"task_id":"01B","retry_of":"01A","allowed_scopes":["tool_type:Write","rule:a"]}"#)
        let lines = TaskPage.lines(task, style: plain)
        #expect(lines.contains { $0.hasPrefix("Retry of") && $0.hasSuffix("01A") })
        #expect(lines.contains { $0.hasPrefix("Allowed") && $0.hasSuffix("tool_type:Write, rule:a") })
        let bare = TaskPage.lines(try json(#"{"task_id":"01B","retry_of":null,"allowed_scopes":[]}"#), style: plain)
        #expect(!bare.contains { $0.hasPrefix("Retry of") || $0.hasPrefix("Allowed") })
        let repo = ObjectPage.lines(try json(#"{"repo":"acme/shop","policies":"one\ntwo\nthree\n"}"#), style: plain)
        #expect(repo.contains { $0.hasPrefix("policies") && $0.hasSuffix("one … (2 more lines)") })
    }

    // MARK: - terminal safety

    @Test func `text from elsewhere cannot speak to the terminal`() throws {
        let evil = "\u{1B}]0;owned\u{07}a\u{9B}31mb\u{202E}c\u{7F}\r\nd\te"
        #expect(Text.visible(evil) == #"\x1b]0;owned\x07a\x9b31mb\u{202e}c\x7f d e"#)
        var object = ["event_type": JSONValue.string("agent_turn"), "task_id": .string(evil), "repo": .string(evil)]
        object["metadata"] = .object(["text_preview": .string(evil), "turn": 1])
        object["status"] = .string(evil)
        object["error"] = .object(["title": .string(evil), "remedy": .string(evil), "code": .string(evil)])
        object["error_classification"] = object["error"]
        object["answer_text"] = .string(evil)
        object["outcome"] = "no_change"
        let value = JSONValue.object(object)
        var table = Table(["A"], flexible: 0)
        table.add([.init(evil)])
        var lines = StatusPage(value).lines(style: plain) + TaskPage.lines(value, style: plain)
        lines += TaskPage.ending(value, style: plain) + ObjectPage.lines(value, style: plain)
        lines += table.lines(style: plain, width: 40) + TaskPage.table([value], now: 0).lines(style: plain, width: nil)
        lines += [EventLine(value).rendered(style: plain, width: nil), value.encoded(), value.encoded(pretty: true)]
        lines.append(EventLine(.object(["event_type": .string(evil)])).rendered(style: plain, width: nil))
        let error = APIError(
            Response(status: 500, body: Array("{\"error\":{\"message\":\(JSONValue.string(evil).encoded())}}".utf8)))
        lines.append(error.line)
        for line in lines {
            for scalar in line.unicodeScalars where scalar != "\n" {
                #expect(
                    scalar.value >= 0x20 && !(0x7F..<0xA0).contains(scalar.value) && scalar.value != 0x202E, "\(line)")
            }
        }
    }

    @Test func `escaped JSON is still the same JSON`() throws {
        let value = JSONValue.object(["a": "x\u{7F}\u{9B}\u{202E}é日"])
        #expect(try JSONValue(parsing: Array(value.encoded().utf8)) == value)
    }

    // MARK: - tables, widths, numbers

    @Test func `a table is as wide as its content and cut to the terminal`() {
        var table = Table(["ID", "STATE", "WHAT"], flexible: 2)
        table.add([.init("1"), .init("RUNNING", .cyan), .init("a text that is rather long for a table")])
        table.add([.init("22"), .init("QUEUED"), .init("日本語")])
        #expect(
            table.lines(style: plain, width: nil) == [
                "ID  STATE    WHAT", "1   RUNNING  a text that is rather long for a table", "22  QUEUED   日本語",
            ])
        #expect(
            table.lines(style: plain, width: 24) == [
                "ID  STATE    WHAT", "1   RUNNING  a text tha…", "22  QUEUED   日本語",
            ])
        for width in 1...60 {
            #expect(table.lines(style: plain, width: width).allSatisfy { Text.width($0) <= width })
        }
    }

    @Test func `colour needs a terminal and honours NO_COLOR`() {
        #expect(Style(isTerminal: true, environment: [:]).isColoured)
        #expect(!Style(isTerminal: false, environment: [:]).isColoured)
        #expect(!Style(isTerminal: true, environment: ["NO_COLOR": "1"]).isColoured)
        #expect(Style(isTerminal: true, environment: ["NO_COLOR": ""]).isColoured)
        #expect(!Style(isTerminal: true, environment: ["TERM": "dumb"]).isColoured)
        #expect(coloured.paint("x", .red) == "\u{1B}[31mx\u{1B}[0m")
        #expect(plain.paint("x", .red) == "x")
    }

    @Test(
        arguments: [
            (0, "$0.00"), (0.0042, "$0.0042"), (0.05, "$0.0500"), (0.1, "$0.10"), (1.006, "$1.01"), (12.5, "$12.50"),
            (nil, "–"), (-1, "–"), (.nan, "–"), (1e300, "–"),
        ] as [(Double?, String)])
    func `amounts are dollars and cents`(amount: Double?, text: String) {
        #expect(Amount.dollars(amount) == text)
    }

    @Test(arguments: [(0, "0s"), (59, "59s"), (252, "4m 12s"), (7384, "2h 3m"), (200_000, "2d 7h"), (-5, "0s")])
    func `lengths of time are short`(seconds: Int, text: String) {
        #expect(Moment.length(seconds: seconds) == text)
    }

    @Test func `timestamps are read with and without fractions and offsets`() {
        let moment = 1_772_366_400.0
        #expect(Moment.date("2026-03-01T12:00:00Z")?.timeIntervalSince1970 == moment)
        #expect(Moment.date("2026-03-01T12:00:00.250Z")?.timeIntervalSince1970 == moment + 0.25)
        #expect(Moment.date("2026-03-01T12:00:00.250123Z") != nil)
        #expect(Moment.date("2026-03-01T14:00:00+02:00")?.timeIntervalSince1970 == moment)
        #expect(Moment.date("yesterday") == nil)
        #expect(Moment.date(nil) == nil)
    }
}
