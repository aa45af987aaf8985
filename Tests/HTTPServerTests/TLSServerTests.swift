import HTTPServer
import HTTPTypes
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct TLSServerTests {
    @Test func `a key of another certificate does not start, with words that say why`() async throws {
        try await withAuthority { authority in
            let (one, two) = (try authority.issue("DNS:localhost"), try authority.issue("DNS:localhost"))
            let mixed = Authority.Identity(certificate: one.certificate, key: two.key)
            let error = try await #require(throws: ServerError.self) { try await withSecureServer(mixed) { _ in } }
            #expect(error.description.contains("belong together"))
        }
    }

    @Test func `a file that is missing or holds something else is named`() async throws {
        try await withAuthority { authority in
            let good = try authority.issue("DNS:localhost")
            func refusal(_ certificate: String, _ key: String) -> String {
                do {
                    _ = try ServerTLS(certificateFile: certificate, keyFile: key)
                    return ""
                } catch {
                    return "\(error)"
                }
            }
            #expect(refusal("/nowhere/cert.pem", good.key).contains("/nowhere/cert.pem cannot be read"))
            #expect(refusal(good.key, good.key).contains("holds no certificate"))
            #expect(refusal(good.certificate, good.certificate).contains("holds no private key"))
            #expect(refusal(good.certificate, good.key) == "")
        }
    }

    @Test func `who speaks plain HTTP to it gets nothing, and others are still served`() async throws {
        try await withAuthority { authority in
            try await withSecureServer(authority.issue("DNS:localhost")) { port in
                let wire = try Wire(port)
                try wire.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                #expect(throws: (any Error).self) { try wire.response() }
            }
        }
    }
}
