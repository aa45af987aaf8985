import Config
import Telemetry
import TestSupport
import Testing

@testable import Runtime

@Suite struct LogRedactionTests {
    /// The corpus of the rules is held elsewhere; here, that they are asked.
    @Test func `no line of a service holds what the rules take for a secret`() throws {
        let log = CapturingLog()
        let secret = "ghp_" + String(repeating: "a1B2", count: 9)
        let config = try Environment.read(
            { ServiceConfig(&$0, name: "relay", postgres: false, amqp: false) }, from: Environment([:]))
        let process = try ProcessRuntime(config, sink: log)
        process.log.error("git said: \(secret)", ["error": "remote: \(secret) is no good"])
        #expect(!log.contains(secret))
        #expect(log.contains("git said: [redacted GitHub token]"))
        #expect(log.contains("remote: [redacted GitHub token] is no good"))
    }
}
