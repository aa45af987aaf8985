import Domain
import Testing

@testable import AgentGateway

@Suite struct ScrubTests {
    private let scrub: SecretScrub

    init() throws { scrub = try SecretScrub() }

    private func scrubbed(_ text: String) throws -> String {
        let bytes = Array(text.utf8)
        let edits = try scrub.edits(try JSONScan.read(bytes), bytes: bytes)
        return String(decoding: BodyEdit.apply(edits, to: bytes), as: UTF8.self)
    }

    private static let key = "AKIA" + "IOSFODNN7EXAMPLE"
    private static let pem =
        #"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"#

    @Test(arguments: [
        (#"{"a":"the key \#(key) there"}"#, #"{"a":"the key [redacted AWS key] there"}"#),
        (#"{"a":"line\n\#(key)\nline"}"#, #"{"a":"line\n[redacted AWS key]\nline"}"#),
        (#"{"a":"\u0041\#(key.dropFirst())"}"#, #"{"a":"[redacted AWS key]"}"#),
        (#"{"\#(key)":1}"#, #"{"[redacted AWS key]":1}"#),
        (#"{"a":"é😀\ud83d\ude00 \#(pem) é"}"#, #"{"a":"é😀\ud83d\ude00 [redacted private key] é"}"#),
        (#"[ "https://ada:s3cret@host/x" , 1 ]"#, #"[ "https://ada:[redacted password]@host/x" , 1 ]"#),
        (#"{"a":"\#(key)","b":["\#(key)"]}"#, #"{"a":"[redacted AWS key]","b":["[redacted AWS key]"]}"#),
    ])
    func `only the secret's own bytes change`(body: String, expected: String) throws {
        #expect(try scrubbed(body) == expected)
        #expect(try scrubbed(expected) == expected)
    }

    @Test func `a body without a secret stays as it is, spaces and escapes included`() throws {
        let body = #" { "a" : "\u0041\/b" , "n":[1.0, 1e5 ] } "#
        #expect(try scrubbed(body) == body)
    }

    @Test func `what was sent before is scrubbed to the same bytes again`() throws {
        let begin = #"{"messages":[{"role":"user","content":"-----BEGIN PRIVATE KEY----- \#(Self.key)"}"#
        let short = try scrubbed(begin + "]}")
        let long = try scrubbed(begin + #",{"role":"user","content":"x -----END PRIVATE KEY-----"}]}"#)
        #expect(long.hasPrefix(short.dropLast(2)))
    }

    @Test func `what the model signed is left alone, and only there`() throws {
        let thinking = #"{"type":"thinking","thinking":"\#(Self.key)","signature":"s"}"#
        let signed = #"{"messages":[{"role":"assistant","content":[\#(thinking)]}]}"#
        #expect(try scrubbed(signed) == signed)
        let posed = #"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[\#(thinking)]}]}]}"#
        #expect(try !scrubbed(posed).contains(Self.key))
    }

    @Test func `a long conversation is scrubbed in good time`() throws {
        let message = #"{"role":"user","content":"\#(String(repeating: "some code();\\n", count: 2000))"},"#
        let body = #"{"messages":[\#(String(repeating: message, count: 100))"\#(Self.key)"]}"#
        #expect(try scrubbed(body).hasSuffix(#""[redacted AWS key]"]}"#))
    }
}
