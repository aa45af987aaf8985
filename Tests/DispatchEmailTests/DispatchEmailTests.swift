import Config
import Crypto
import Domain
import Notifications
import TestSupport
import Testing

@testable import DispatchEmail

/// A mail server as the conformance suite sees it.
struct EmailUnderTest: ChannelUnderTest {
    let smtp: Rehearsal
    var target = "ada@example.org"
    let canLookUp = false
    let namesWaitingTime = false

    func makeChannel() throws -> EmailChannel {
        try Environment.read(
            { environment in
                EmailChannel(
                    &environment, ServiceConfig(&environment, name: "dispatch-email", postgres: false, amqp: false))
            },
            from: Environment([
                "BGAGENT_SMTP_URL": smtp.smtpURL ?? "", "BGAGENT_SMTP_FROM": "bgagent@example.org",
            ]))
    }

    func mails(_ task: TaskID) async throws -> [JSONValue] {
        (try await smtp.state()["mails"]?.array ?? []).filter {
            $0["headers"]?["X-Bgagent-Task"]?.string == task.rawValue
        }
    }

    func arrived(_ task: TaskID) async throws -> [String] {
        try await mails(task).compactMap { mail in
            mail["message_id"]?.string.map { String($0.dropFirst().prefix { $0 != "@" }) }
        }
    }

    private static let data: JSONValue = ["method": "DATA"]

    func orderLateCommit() async throws { try await smtp.order("late_commit", match: Self.data) }
    func orderDrop() async throws { try await smtp.order("drop", match: Self.data) }
    func orderBusy(retryAfter: Int) async throws { try await smtp.order("status", match: Self.data, status: 451) }
    func orderRefusal() async throws { try await smtp.order("status", match: Self.data, status: 554) }
}

@Suite struct EmailChannelTests {
    @Test(arguments: ChannelRule.allCases)
    func `e-mail keeps the rules of channels`(_ rule: ChannelRule) async throws {
        try await Rehearsal.with("smtp") { try await rule.hold(EmailUnderTest(smtp: $0)) }
    }

    @Test func `a mail arrives as plain text and HTML in the task's thread, with a Message-ID of its own`() async throws
    {
        try await Rehearsal.with("smtp") { smtp in
            try await LedgerFixture.with { fixture in
                let bench = try ChannelBench(EmailUnderTest(smtp: smtp), fixture)
                let task = try await fixture.submit()
                let id = try await bench.plan(.taskFailed, of: task, metadata: ["error": ["title": "Größer <als> 3"]])
                try await bench.work(task, until: ["sent"])
                let mail = try #require(try await bench.subject.mails(task).first)
                #expect(mail["subject"]?.string == "[acme/shop] Failed: Größer <als> 3 – fix the failing test")
                #expect(mail["message_id"]?.string == "<\(id)@example.org>")
                let headers = try #require(mail["headers"])
                #expect(headers["References"]?.string == "<task-\(task)@example.org>")
                #expect(headers["In-Reply-To"]?.string == "<task-\(task)@example.org>")
                #expect(headers["Auto-Submitted"]?.string == "auto-generated")
                #expect(mail["text"]?.string?.contains("Größer <als> 3") == true)
                #expect(mail["text"]?.string?.contains("bgagent status \(task)") == true)
                #expect(mail["html"]?.string?.contains("Größer &lt;als&gt; 3") == true)
            }
        }
    }

    @Test func `nothing that people wrote becomes a header`() {
        let lines = Self.lines(
            Self.format(subject: "hi\r\nBcc: all@example.org\n\nbody", repo: "a\r\nX-Evil: 1"))
        let head = lines.prefix { !$0.isEmpty }
        #expect(head.allSatisfy { !$0.hasPrefix("Bcc") && !$0.hasPrefix("X-Evil") })
        #expect(head.contains("Subject: hiBcc: all@example.orgbody"))
    }

    @Test(
        arguments: [
            "plain", "Größe", String(repeating: "ä", count: 200), "=?utf-8?B?x?=", "👩‍👩‍👧‍👦 family",
            String(repeating: "word ", count: 40),
        ])
    func `a subject of any text is ASCII in short lines and reads back as it was`(_ subject: String) throws {
        let encoded = MailFormat.encodedWords(subject)
        let lines = encoded.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.allSatisfy { $0.utf8.count <= 76 && $0.utf8.allSatisfy { $0 < 127 } })
        var bytes: [UInt8] = []
        for line in lines {
            let word = line.drop { $0 == " " }
            guard word.hasPrefix("=?utf-8?B?"), word.hasSuffix("?=") else {
                bytes += Array(word.utf8)
                continue
            }
            bytes += try #require(Base64.decode(String(word.dropFirst(10).dropLast(2))))
        }
        #expect(String(decoding: bytes, as: UTF8.self) == subject)
    }

    @Test func `a mail is ASCII in lines of at most 998 bytes that end in CRLF`() {
        let mail = Self.format(subject: String(repeating: "ü", count: 500), repo: "acme/shop").bytes
        let text = String(decoding: mail, as: UTF8.self)
        #expect(mail.allSatisfy { $0 < 127 })
        #expect(text.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 998 && !$0.utf8.contains(10) })
    }

    @Test func `an address with more in it than an address is refused`() {
        #expect(MailAddress.plain("ada@example.org") == "ada@example.org")
        for text in [
            "", "ada", "@", "a@b@c", "ada@example.org\r\nBcc: x@y", "Ada <ada@example.org>", "a b@c", "ä@b", "a,b@c",
        ] {
            #expect(MailAddress.plain(text) == nil, "\(text)")
        }
    }

    @Test func `a date is written as mail wants it`() {
        #expect(MailDate.text(1_136_214_245) == "Mon, 02 Jan 2006 15:04:05 +0000")
    }

    private static func format(subject: String, repo: String) -> MailFormat {
        MailFormat(
            from: "bgagent <b@example.org>", to: "ada@example.org", subject: subject, date: MailDate.text(0),
            messageID: "1@example.org", thread: "t@example.org", headers: [("X-Bgagent-Repo", repo)],
            plain: "ä\n", html: "<p>ä</p>\n", boundary: "=_b")
    }

    private static func lines(_ mail: MailFormat) -> [String] {
        // CRLF is one Character.
        String(decoding: mail.bytes, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
            .map(String.init)
    }
}
