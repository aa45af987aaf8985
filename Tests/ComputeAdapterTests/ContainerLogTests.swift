import Config
import ContainerEngine
import FoundationEssentials
import Testing

@testable import ComputeAdapter

/// The copy of a container's log, fed with what an engine would answer.
@Suite struct ContainerLogTests {
    /// A line at a number of seconds.
    private static func line(_ stream: UInt8, _ second: Int, _ text: String) -> [UInt8] {
        let payload = Array("1970-01-01T00:00:\(second < 10 ? "0" : "")\(second)Z \(text)\n".utf8)
        return [stream, 0, 0, 0, 0, 0, 0, UInt8(payload.count)] + payload
    }

    private static func with(_ body: (String) throws -> Void) throws {
        let directory = "/tmp/bgagent-log-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    @Test func `every line is copied once and in order, whatever is asked for again`() throws {
        try Self.with { directory in
            let said = [
                Self.line(1, 1, "a"), Self.line(2, 1, "b"), Self.line(1, 1, "c"), Self.line(1, 2, "d"),
                // The other stream's thread was late.
                Self.line(2, 1, "e"), Self.line(1, 9, "f"),
            ]
            for lines in 0...said.count {
                // Another life of the adapter each time.
                let log = ContainerLog(directory: directory)
                for _ in 0..<2 { try log.update { _, take in for one in said.prefix(lines) { try take(one) } } }
                let text = log.file.tail(100)
                #expect(text == ["a", "b", "c", "d", "e", "f"].prefix(lines).map { "\($0)\n" }.joined())
            }
        }
    }

    @Test func `only what is new is asked for`() throws {
        try Self.with { directory in
            let log = ContainerLog(directory: directory)
            try log.update { since, take in
                #expect(since == nil)
                try take(Self.line(1, 30, "a"))
            }
            try log.update { since, _ in #expect(since == 25_000_000_000) }
        }
    }

    @Test func `what was written after the mark is written again`() throws {
        try Self.with { directory in
            let first = ContainerLog(directory: directory)
            try first.update { _, take in try take(Self.line(1, 1, "a")) }
            let path = first.file.path
            let torn = (FileManager.default.contents(atPath: path) ?? Data()) + Data("half".utf8)
            try torn.write(to: URL(filePath: path))
            let later = ContainerLog(directory: directory)
            try later.update { _, take in
                try take(Self.line(1, 1, "a"))
                try take(Self.line(1, 2, "b"))
            }
            #expect(later.file.tail(100) == "a\nb\n")
        }
    }

    @Test func `a container that is gone keeps what was copied`() throws {
        try Self.with { directory in
            let log = ContainerLog(directory: directory)
            try log.update { _, take in try take(Self.line(1, 1, "a")) }
            log.finish()
            #expect(throws: EngineError.self) {
                try ContainerLog(directory: directory).update { _, _ in throw EngineError(.notFound, "gone") }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["log"])
            #expect(log.file.tail(100) == "a\n")
        }
    }
}

@Suite struct ContainerSettingsTests {
    @Test(arguments: [
        (["BGAGENT_AGENT_USER": "0:0"], "BGAGENT_AGENT_USER"), (["BGAGENT_AGENT_USER": "agent"], "BGAGENT_AGENT_USER"),
        (["BGAGENT_AGENT_PIDS": "32"], "BGAGENT_AGENT_PIDS"),
        (["BGAGENT_AGENT_MEMORY": "4g"], "BGAGENT_AGENT_WORKSPACE_SIZE"),
        (["BGAGENT_AGENT_GATEWAY_LABEL": "gateway"], "BGAGENT_AGENT_GATEWAY_LABEL"),
        (["BGAGENT_ENGINE_URL": "/var/run/docker.sock"], "BGAGENT_ENGINE_URL"),
        (["BGAGENT_AGENT_SUBNETS": "8.8.8.0/24"], "BGAGENT_AGENT_SUBNETS"),
        (["BGAGENT_AGENT_MEMORY": "much"], "BGAGENT_AGENT_MEMORY"),
        (["BGAGENT_AGENT_GATEWAY_URL": "http://127.0.0.1:8081"], "http://agent-gateway:8081"),
        (["BGAGENT_COMPUTE_BACKEND": "process"], "BGAGENT_AGENT_COMMAND"),
    ]) func `settings that cannot work are told with what to do`(changed: [String: String], words: String) {
        var values = Self.working
        values.merge(changed) { _, new in new }
        let error = #expect(throws: Environment.Unusable.self) {
            try Environment.read(ComputeConfig.init, from: Environment(values))
        }
        #expect(error?.problems.count == 1)
        #expect(error?.description.contains(words) == true)
    }

    @Test func `the container backend needs no command and has limits without being told`() throws {
        let config = try Environment.read(ComputeConfig.init, from: Environment(Self.working))
        #expect(config.command == [])
        #expect(config.container.memory == 8 << 30 && config.container.cpus == 2 && config.container.pids == 512)
        #expect(config.container.workspace == .memory && config.container.runtime == "")
        #expect(config.container.engine.unixSocket == "/var/run/docker.sock")
        #expect(config.makeBackend().name == "container")
    }

    private static let working = [
        "BGAGENT_POSTGRES_URL": "postgres://localhost/x", "BGAGENT_AMQP_URL": "amqp://localhost",
        "BGAGENT_COMPUTE_BACKEND": "container", "BGAGENT_AGENT_GATEWAY_URL": "http://agent-gateway:8081",
    ]
}
