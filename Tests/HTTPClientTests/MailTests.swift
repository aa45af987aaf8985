import HTTPClient
import HTTPTypes
import Lifecycle
import Testing

/// A minimal SMTP server that notes what it heard.
private final class MailServer: Sendable {
    enum Fault: Sendable {
        case none
        case refuseRecipient(String)
        case refuseContent(String)
        case hangUpAfterContent
    }

    let heard = Condition<[String]>([])
    let loopback: Loopback

    init(_ fault: Fault = .none, offers: [String] = ["AUTH PLAIN", "8BITMIME"]) throws {
        let heard = heard
        loopback = try Loopback { peer, _ in
            try peer.send("220 test\r\n")
            while true {
                let line = try peer.line()
                heard.update { $0.append(line) }
                switch line.prefix(4).uppercased() {
                case "EHLO":
                    for offer in ["test"] + offers { try peer.send("250-\(offer)\r\n") }
                    try peer.send("250 SIZE 1000000\r\n")
                case "AUTH":
                    try peer.send("334 \r\n")
                    let credentials = try peer.line()
                    heard.update { $0.append(credentials) }
                    try peer.send("235 welcome\r\n")
                case "RCPT":
                    guard case .refuseRecipient(let reply) = fault else { fallthrough }
                    try peer.send("\(reply)\r\n")
                case "MAIL": try peer.send("250 ok\r\n")
                case "DATA":
                    try peer.send("354 go on\r\n")
                    while case let line = try peer.line(), line != "." { heard.update { $0.append("> \(line)") } }
                    switch fault {
                    case .hangUpAfterContent: return
                    case .refuseContent(let reply): try peer.send("\(reply)\r\n")
                    default: try peer.send("250 2.0.0 queued as 42\r\n")
                    }
                case "QUIT": return try peer.send("221 bye\r\n")
                default: try peer.send("500 what?\r\n")
                }
            }
        }
    }

    var config: SMTPConfig {
        var config = SMTPConfig(url: "smtp://127.0.0.1:\(loopback.port)", security: .whenOffered)
        config.clientName = "client.test"
        config.timeout = .seconds(10)
        return config
    }
}

@Suite struct MailTests {
    private let mail = SMTPMessage(
        from: "from@test", recipients: ["one@test", "two@test"],
        content: Array("Subject: hello\r\n\r\nfirst\r\n.dot\r\n..two\r\nlast\r\n".utf8))

    @Test func `a mail is handed over with its envelope`() async throws {
        let server = try MailServer()
        var config = server.config
        config.user = "user"
        config.password = "password"
        let reply = try await onThread { [mail, config] in try HTTPClient.sendMail(mail, config) }
        #expect(reply == "250 2.0.0 queued as 42")
        let heard = server.heard.withLock { $0 }
        #expect(heard.first == "EHLO client.test")
        #expect(heard.contains("AUTH PLAIN"))
        #expect(heard.contains("AHVzZXIAcGFzc3dvcmQ="))  // NUL user NUL password
        #expect(heard.contains { $0.hasPrefix("MAIL FROM:<from@test>") })
        #expect(heard.filter { $0.hasPrefix("RCPT") } == ["RCPT TO:<one@test>", "RCPT TO:<two@test>"])
        let lines = heard.filter { $0.hasPrefix(">") }
        #expect(lines == ["> Subject: hello", "> ", "> first", "> ..dot", "> ...two", "> last"])
    }

    @Test(arguments: [("550 5.1.1 no such user", 550, false), ("450 4.2.0 later", 450, true)])
    func `a refused recipient refuses the mail`(reply: String, code: Int, isRetryable: Bool) async throws {
        let server = try MailServer(.refuseRecipient(reply))
        let error = try await #require(throws: SMTPError.self) {
            try await onThread { [mail] in try HTTPClient.sendMail(mail, server.config) }
        }
        #expect(error.replyCode == code)
        #expect(error.reason == reply)
        #expect(error.isRetryable == isRetryable)
        #expect(!error.mayHaveBeenAccepted)
        #expect(!server.heard.withLock { $0.contains("DATA") })
    }

    @Test func `refused content is a verdict`() async throws {
        let server = try MailServer(.refuseContent("554 5.7.1 spam"))
        let error = try await #require(throws: SMTPError.self) {
            try await onThread { [mail] in try HTTPClient.sendMail(mail, server.config) }
        }
        #expect(error.replyCode == 554)
        #expect(!error.isRetryable)
        #expect(!error.mayHaveBeenAccepted)
    }

    @Test func `without a verdict the mail may arrive`() async throws {
        let server = try MailServer(.hangUpAfterContent)
        let error = try await #require(throws: SMTPError.self) {
            try await onThread { [mail] in try HTTPClient.sendMail(mail, server.config) }
        }
        #expect(error.mayHaveBeenAccepted)
        #expect(error.isRetryable)
    }

    @Test func `no mail goes out in the clear when encryption is required`() async throws {
        let server = try MailServer()
        var config = server.config
        config.security = .required
        let error = try await #require(throws: SMTPError.self) {
            try await onThread { [mail, config] in try HTTPClient.sendMail(mail, config) }
        }
        #expect(error.code == .tls)
        #expect(!server.heard.withLock { $0.contains { $0.hasPrefix("MAIL") } })
    }

    @Test(arguments: ["a@b\r\nDATA", "<a@b>", "a b@c", "a@b>\u{0}"])
    func `an address that would break the envelope is refused here`(address: String) async throws {
        let mail = SMTPMessage(from: "from@test", recipients: [address], content: [])
        let error = try await #require(throws: SMTPError.self) {
            try await onThread { try HTTPClient.sendMail(mail, SMTPConfig(url: "smtp://127.0.0.1:1")) }
        }
        #expect(error.code == .invalidRequest)
    }
}
