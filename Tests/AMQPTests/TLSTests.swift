import AMQP
import TestSupport
import Testing

/// What a broker shows of itself is looked at before anything of the protocol is said, so any TLS server will do here.
@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    @Test(arguments: [
        ("wrong authority", "BGAGENT_CA_FILE"), ("other host", "another host name"), ("expired", "has expired"),
        ("plain text", "may not speak TLS"), ("no file", "holds no certificates"),
    ])
    func `a broker that cannot be trusted is refused with what to do`(fault: String, words: String) async throws {
        try await withAuthority { authority in
            try await withAuthority { other in
                let identity: Authority.Identity? =
                    switch fault {
                    case "other host": try authority.issue("DNS:elsewhere.test")
                    case "expired": try authority.issue("DNS:localhost", expired: true)
                    case "plain text": nil
                    default: try authority.issue("DNS:localhost")
                    }
                try await withSecureServer(identity) { port in
                    let file =
                        switch fault {
                        case "wrong authority": other.file
                        case "no file": "/nowhere/ca.pem"
                        default: authority.file
                        }
                    var config = try AMQPConfig(url: "amqps://u:secret@localhost:\(port)/", authorities: file)
                    config.connectTimeout = .seconds(2)
                    let asked = config
                    let error = try await #require(throws: AMQPError.self) { try await AMQPConnection.open(asked) }
                    #expect(error.code == .unreachable)
                    #expect(error.reason.contains(words), "\(error)")
                    #expect(!error.reason.contains("secret"))
                }
            }
        }
    }
}
