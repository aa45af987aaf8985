import Domain
import FoundationEssentials
import TestSupport
import Testing

@testable import ComputeAdapter

/// What every compute backend has to do. `script` is what the sandbox runs: a shell text.
struct BackendConformance {
    let make: (_ directory: String, _ script: String) -> any ComputeBackend

    /// Starts, finds, stops, kills and removes sandboxes.
    func run() async throws {
        try await endsWhenAsked()
        try await killsWhatDoesNotListen()
        try await forgetsWhatEndedByItself()
        try await tellsOutputAndUsage()
    }

    private func tellsOutputAndUsage() async throws {
        try await with("echo first; echo second; while :; do :; done") { backend, name, _ in
            let text = try await eventually("both lines are there") { () -> String? in
                let text = String(decoding: try backend.output(name, from: 0, limit: 1000), as: UTF8.self)
                return text.hasSuffix("second\n") ? text : nil
            }
            #expect(text == "first\nsecond\n")
            #expect(try backend.output(name, from: 6, limit: 3) == Array("sec".utf8))
            #expect(try backend.output(name, from: 13, limit: 10).isEmpty)
            try await eventually("it has used a processor") {
                guard let usage = try backend.usage(name) else { return false }
                return usage.cpuSeconds > 0 && usage.memoryBytes > 0 && usage.pids >= 1
            }
            #expect(try backend.output("bgagent-none-1", from: 0, limit: 10).isEmpty)
            #expect(try backend.usage("bgagent-none-1") == nil)
            #expect(backend.check().allSatisfy { $0.ok })
        }
    }

    private func endsWhenAsked() async throws {
        try await with("trap 'exit 0' TERM; while :; do sleep 0.05; done") { backend, name, _ in
            #expect(try backend.running().contains(name))
            // The shell may not have set its trap yet; a second asking does no harm.
            try await eventually("\(name) ends") {
                try backend.stop(name)
                return try !backend.running().contains(name)
            }
        }
    }

    private func killsWhatDoesNotListen() async throws {
        // One that ignores the signal, and one that left for a session of its own.
        let script =
            "trap '' TERM; setsid sh -c \"trap '' TERM; while :; do sleep 0.05; done\" & while :; do sleep 0.05; done"
        try await with(script) { backend, name, _ in
            try backend.stop(name)
            try backend.kill(name)
            try await eventually("\(name) is gone") { try !backend.running().contains(name) }
        }
    }

    private func forgetsWhatEndedByItself() async throws {
        try await with("echo last words; exit 3") { backend, name, directory in
            try await eventually("\(name) is gone") { try !backend.running().contains(name) }
            #expect(backend.logTail(name, bytes: 100).contains("last words"))
            try backend.remove(name)
            try backend.remove(name)
            #expect(backend.logTail(name, bytes: 100).contains("last words"))
        }
    }

    private func with(
        _ script: String, _ body: (any ComputeBackend, String, String) async throws -> Void
    ) async throws {
        let directory = "/tmp/bgagent-compute-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let backend = make(directory, script)
        let name = "bgagent-\(UUID().uuidString)-1"
        let spec = SandboxSpec(
            name: name, environment: ["PATH": "/usr/bin:/bin", "BGAGENT_SESSION": name])
        do {
            try backend.start(spec)
            try await body(backend, name, directory)
        } catch {
            try? backend.kill(name)
            try? FileManager.default.removeItem(atPath: directory)
            throw error
        }
        try backend.kill(name)
        #expect(try !backend.running().contains(name))
        try FileManager.default.removeItem(atPath: directory)
    }
}

@Suite struct ProcessBackendTests {
    @Test func `the process backend starts, finds, stops, kills and removes`() async throws {
        try await BackendConformance { directory, script in
            ProcessBackend(directory: directory, command: ["/bin/sh", "-c", script])
        }.run()
    }

    @Test func `a backend of a later life finds what an earlier one has started`() async throws {
        let directory = "/tmp/bgagent-compute-\(UUID().uuidString)"
        let name = "bgagent-\(UUID().uuidString)-1"
        let command = ["/bin/sh", "-c", "while :; do sleep 0.05; done"]
        let first = ProcessBackend(directory: directory, command: command)
        try first.start(SandboxSpec(name: name, environment: ["PATH": "/usr/bin:/bin", "BGAGENT_SESSION": name]))
        let second = ProcessBackend(directory: directory, command: command)
        #expect(try second.running() == [name])
        try second.kill(name)
        try await eventually("it is gone and collected") { try first.running().isEmpty }
        try FileManager.default.removeItem(atPath: directory)
    }

    @Test func `a program that is not there is an error and leaves nothing running`() throws {
        let directory = "/tmp/bgagent-compute-\(UUID().uuidString)"
        let backend = ProcessBackend(directory: directory, command: ["/nonexistent/agent"])
        #expect(throws: (any Error).self) {
            try backend.start(SandboxSpec(name: "bgagent-x-1", environment: ["BGAGENT_SESSION": "bgagent-x-1"]))
        }
        #expect(try backend.running().isEmpty)
        try FileManager.default.removeItem(atPath: directory)
    }
}
