import FoundationEssentials
import Telemetry
import TestSupport
import Testing

@Suite struct LoggerTests {
    private struct Line: Decodable, Equatable {
        var time: String
        var level: String
        var service: String
        var message: String
        var task_id: String?
        var trace_id: String?
        var count: Int?
        var ratio: Double?
        var isLast: Bool?
        var note: String?
    }

    private func lines(_ log: CapturingLog) throws -> [Line] {
        try log.lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test func `a line is one JSON object with the fields in their types`() throws {
        let log = CapturingLog()
        let missing: String? = nil
        log.logger.info(
            "done", ["count": 3, "ratio": 0.5, "isLast": true, "note": "said \"hi\"\n\u{1}", "gone": missing])
        let line = try #require(try lines(log).first)
        #expect(line.level == "info" && line.service == "test" && line.message == "done")
        #expect(line.count == 3 && line.ratio == 0.5 && line.isLast == true)
        #expect(line.note == "said \"hi\"\n\u{1}")
        #expect(log.lines.first?.contains("gone") == false)
        #expect(log.lines.first?.hasSuffix("}\n") == true)
    }

    @Test func `lines below the level are not written, and what they would say is not computed`() {
        let log = CapturingLog()
        var logger = log.logger
        logger.level = .warning
        func unwanted() -> String {
            Issue.record("computed for nothing")
            return ""
        }
        logger.debug(unwanted())
        logger.info("x", ["y": unwanted()])
        logger.warning("w")
        logger.error("e")
        #expect(log.lines.count == 2)
    }

    @Test func `fields of a logger are on every line, and a newer one wins`() throws {
        let log = CapturingLog()
        let logger = log.logger.with(["task_id": "a", "count": 1]).with(["task_id": "b"])
        logger.info("one", ["count": 2])
        let line = try #require(try lines(log).first)
        #expect(line.task_id == "b" && line.count == 2)
        #expect(log.lines.first?.components(separatedBy: "\"count\"").count == 2)
    }

    @Test func `the context of a task is on every line that it and its children write`() async throws {
        let log = CapturingLog()
        let logger = log.logger
        await LogContext(taskID: "T1", traceID: "abc").run {
            async let child: Void = logger.info("child")
            await child
        }
        logger.info("outside")
        let all = try lines(log)
        #expect(all[0].task_id == "T1" && all[0].trace_id == "abc")
        #expect(all[1].task_id == nil)
    }

    @Test(arguments: ["password", "harness_token", "Authorization", "BGAGENT_MODEL_API_KEY", "client_secret"])
    func `text under a name that speaks of a secret is not written`(name: String) {
        let log = CapturingLog()
        log.logger.info("x", [name: "hunter2"])
        #expect(!log.contains("hunter2") && log.contains("<redacted>"))
    }

    @Test func `counts of tokens are no secret`() {
        let log = CapturingLog()
        log.logger.info("x", ["input_tokens": 512])
        #expect(log.contains("\"input_tokens\":512"))
    }

    @Test(arguments: [
        ("postgres://bg:pw@db/x", "postgres://bg:<redacted>@db/x"),
        ("amqp://u:p%40q@h:5672/v and http://a:b@c", "amqp://u:<redacted>@h:5672/v and http://a:<redacted>@c"),
        ("odd://u:p@ss@host/", "odd://u:<redacted>@host/"), ("https://host:8080/a@b:c", "https://host:8080/a@b:c"),
        ("https://user@host", "https://user@host"), ("no address: x@y", "no address: x@y"), ("://", "://"), ("", ""),
        ("http://ü:ö@é/ß", "http://ü:<redacted>@é/ß"),
    ])
    func `the password of an address is taken out`(text: String, safe: String) {
        #expect(Redaction.withoutPasswords(text) == safe)
    }

    @Test func `what a logger is to take out is in no message and no text, cut or not`() throws {
        let log = CapturingLog()
        let logger = Logger(service: "test", sink: log) { $0.replacing("hunter2", with: "[redacted]") }
        let filler = String(repeating: "x", count: 8189)
        logger.with(["kept": "my hunter2"]).error("no hunter2", ["cut": filler + "hunter2", "number": 2])
        #expect(!log.contains("hunter2") && !log.contains("hun"))
        #expect(log.contains("\"message\":\"no [redacted]\"") && log.contains("\"kept\":\"my [redacted]\""))
    }

    @Test func `a text that is too long is cut between characters`() throws {
        let log = CapturingLog()
        log.logger.info("x", ["note": String(repeating: "é", count: 20_000)])
        let note = try #require(try lines(log).first?.note)
        #expect(note.utf8.count < 8300 && note.hasSuffix("é…"))
    }

    @Test func `time is written in UTC with milliseconds`() throws {
        let log = CapturingLog()
        log.logger.info("x")
        let time = try #require(try lines(log).first?.time)
        let written = try Date(time, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        #expect(abs(written.timeIntervalSinceNow) < 60)
    }

    @Test func `numbers that JSON does not know are null`() {
        let log = CapturingLog()
        log.logger.info("x", ["ratio": Double.nan])
        #expect(log.contains("\"ratio\":null"))
    }
}
