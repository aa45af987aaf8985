import HTTPClient
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private func ask(_ port: Int, trusting file: String?, host: String = "localhost") async throws -> ClientResponse {
        let client = HTTPClient(.init(threads: 1, caFile: file))
        return try await client.send(ClientRequest(url: "https://\(host):\(port)/", timeout: .seconds(10)))
    }

    @Test func `a server of a trusted authority is spoken to, by name and by address`() async throws {
        try await withAuthority { authority in
            try await withSecureServer(authority.issue("DNS:localhost", "IP:127.0.0.1")) { port in
                for host in ["localhost", "127.0.0.1"] {
                    let answer = try await ask(port, trusting: authority.file, host: host)
                    #expect(answer.text == "hello")
                }
            }
        }
    }

    @Test func `an authority of one's own is trusted beside the system's, not instead`() async throws {
        try await withAuthority { own in
            try await withAuthority { system in
                let (ours, theirs) = (try own.issue("DNS:localhost"), try system.issue("DNS:localhost"))
                var options = HTTPClient.Options(threads: 1, caFile: own.file)
                options.caDirectory = try system.hashedDirectory()
                let client = HTTPClient(options)
                for identity in [ours, theirs] {
                    try await withSecureServer(identity) { port in
                        let answer = try await client.send(ClientRequest(url: "https://localhost:\(port)/"))
                        #expect(answer.status == 200)
                    }
                }
            }
        }
    }

    @Test(arguments: [false, true])
    func `our own server does over TLS what it does without`(threadPerConnection: Bool) async throws {
        try await withAuthority { authority in
            let identity = try authority.issue("DNS:localhost")
            try await withSecureServer(identity, threadPerConnection: threadPerConnection) { port in
                let client = HTTPClient(.init(threads: 4, caFile: authority.file))
                let base = "https://localhost:\(port)"
                let body = [UInt8](repeating: 7, count: 1 << 20)
                for _ in 0..<3 {
                    #expect(try await client.send(ClientRequest(url: "\(base)/")).text == "hello")
                    let echo = try await client.send(ClientRequest(method: "POST", url: "\(base)/echo", body: body))
                    #expect(echo.body == body)
                    #expect(try await client.send(ClientRequest(url: "\(base)/late")).text == "late")
                    #expect(try await client.send(ClientRequest(url: "\(base)/stream")).body.count == 1 << 20)
                }
                try await withThrowingTaskGroup(of: String.self) { group in
                    for _ in 0..<40 {
                        group.addTask { try await client.send(ClientRequest(url: "\(base)/late")).text }
                    }
                    for try await text in group { #expect(text == "late") }
                }
            }
        }
    }

    /// What a server shows, and the words that have to be in the refusal.
    enum Fault: String, CaseIterable, Sendable {
        case unknownAuthority = "BGAGENT_CA_FILE"
        case wrongAuthority = "not trusted here"
        case otherHost = "another host name"
        case expired = "has expired"
        case plainText = "may not speak TLS"
    }

    private func identity(_ fault: Fault, _ authority: Authority) throws -> Authority.Identity? {
        switch fault {
        case .unknownAuthority, .wrongAuthority: try authority.issue("DNS:localhost")
        case .otherHost: try authority.issue("DNS:elsewhere.test")
        case .expired: try authority.issue("DNS:localhost", expired: true)
        case .plainText: nil
        }
    }

    @Test(arguments: Fault.allCases)
    func `a server that cannot be trusted is refused with what to do`(fault: Fault) async throws {
        try await withAuthority { authority in
            try await withAuthority { other in
                try await withSecureServer(identity(fault, authority)) { port in
                    let trusted: String? =
                        switch fault {
                        case .unknownAuthority: nil
                        case .wrongAuthority: other.file
                        default: authority.file
                        }
                    let error = try await #require(throws: HTTPClientError.self) {
                        try await ask(port, trusting: trusted)
                    }
                    #expect(error.code == .tls)
                    #expect(error.reason.contains(fault.rawValue), "\(error)")
                    #expect(!error.mayHaveReachedServer)
                }
            }
        }
    }

    @Test(arguments: Fault.allCases)
    func `mail is not handed to a server that cannot be trusted`(fault: Fault) async throws {
        try await withAuthority { authority in
            try await withAuthority { other in
                try await withSecureServer(identity(fault, authority)) { port in
                    var config = SMTPConfig(url: "smtps://localhost:\(port)")
                    config.caFile = fault == .unknownAuthority ? nil : authority.file
                    if fault == .wrongAuthority { config.caFile = other.file }
                    config.timeout = .seconds(10)
                    let mail = SMTPMessage(from: "a@localhost", recipients: ["b@localhost"], content: Array("x".utf8))
                    let error = try #require(throws: SMTPError.self) { try HTTPClient.sendMail(mail, config) }
                    #expect(error.code == .tls)
                    #expect(error.reason.contains(fault.rawValue), "\(error)")
                    #expect(!error.mayHaveBeenAccepted)
                }
            }
        }
    }
}
