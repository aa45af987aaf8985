import Domain
import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import ComputeAdapter

/// What every compute backend has to do. `script` is what the sandbox runs: a shell text.
struct BackendConformance {
    let make: (_ directory: String, _ script: String) -> any ComputeBackend
    /// A busy machine takes its time for a container.
    var patience = Duration.seconds(20)
    /// What a new sandbox has to do before it can be asked to end.
    private static let patient = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"

    /// Starts, finds, stops, kills and removes sandboxes.
    func run() async throws {
        try await endsWhenAsked()
        try await killsWhatDoesNotListen()
        try await forgetsWhatEndedByItself()
        try await isFoundByALaterLife()
        try await givesItsOutput()
        try await tellsWhatItUses()
        try await with(Self.patient) { backend, _, _ in #expect(backend.check().allSatisfy { $0.ok }) }
    }

    private func endsWhenAsked() async throws {
        try await with(Self.patient) { backend, name, _ in
            #expect(try backend.running().contains(name))
            // The shell may not have set its trap yet; a second asking does no harm.
            try await eventually("\(name) ends", within: patience) {
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
            try await eventually("\(name) is gone", within: patience) { try !backend.running().contains(name) }
            try backend.kill(name)
            try backend.stop(name)
        }
    }

    private func forgetsWhatEndedByItself() async throws {
        try await with("echo last words; exit 3") { backend, name, directory in
            try await eventually("\(name) is gone", within: patience) { try !backend.running().contains(name) }
            #expect(backend.ending(name) == "The sandbox ended with exit code 3.")
            #expect(backend.logTail(name, bytes: 100).contains("last words"))
            #expect(try backend.leftovers().contains(name))
            try backend.remove(name)
            try backend.remove(name)
            #expect(try !backend.leftovers().contains(name))
            #expect(backend.logTail(name, bytes: 100).contains("last words"))
            #expect(backend.logTail(name, bytes: 6) == "words\n")
        }
    }

    private func isFoundByALaterLife() async throws {
        try await with(Self.patient) { backend, name, directory in
            let later = make(directory, Self.patient)
            #expect(try later.running().contains(name))
            #expect(try later.leftovers().contains(name))
            try await eventually("it speaks", within: patience) { later.logTail(name, bytes: 100) == "ready\n" }
            try later.kill(name)
            try await eventually("it is gone for both", within: patience) { try backend.running().isEmpty }
            try later.remove(name)
            #expect(try !backend.leftovers().contains(name))
        }
    }

    private func givesItsOutput() async throws {
        let script = "printf 'one\\ntwo\\n'; printf 'three\\n' >&2; read line; echo $line; \(Self.patient)"
        try await with(script) { backend, name, _ in
            try await eventually("all of it is there", within: patience) {
                try backend.output(name, from: 0, limit: 1000).count == "one\ntwo\nthree\n\nready\n".utf8.count
            }
            let whole = try backend.output(name, from: 0, limit: 1000)
            let text = String(decoding: whole, as: UTF8.self)
            // The two streams are two pipes: each keeps its order, and nobody orders them against each other.
            #expect(text.contains("three\n") && text.replacing("three\n", with: "") == "one\ntwo\n\nready\n")
            // By offset it is the same, whatever the cut, and nothing lies behind its end.
            for offset in 0...whole.count {
                #expect(try backend.output(name, from: offset, limit: 4) == Array(whole[offset...].prefix(4)))
            }
            #expect(try backend.output(name, from: 5000, limit: 10) == [])
            #expect(try backend.output("bgagent-\(UUID().uuidString)-1", from: 0, limit: 10) == [])
        }
    }

    private func tellsWhatItUses() async throws {
        try await with("while :; do :; done") { backend, name, _ in
            let usage = try await eventually("it has worked for a moment", within: patience) { () -> SandboxUsage? in
                try backend.usage(name).flatMap { $0.cpuSeconds > 0.05 ? $0 : nil }
            }
            #expect(usage.memoryBytes > 0 && usage.memoryBytes < 1 << 30)
            #expect(usage.pids >= 1 && usage.pids < 100)
            try backend.kill(name)
            #expect(try backend.usage(name) == nil)
        }
    }

    func with(
        _ script: String, _ body: (any ComputeBackend, String, String) async throws -> Void
    ) async throws {
        let directory = "/tmp/bgagent-compute-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let backend = make(directory, script)
        let name = TestEngine.sessionName()
        let spec = SandboxSpec(
            name: name, environment: ["PATH": "/usr/bin:/bin", "BGAGENT_SESSION": name])
        do {
            try backend.start(spec)
            try await body(backend, name, directory)
        } catch {
            try? backend.kill(name)
            try? backend.remove(name)
            try? FileManager.default.removeItem(atPath: directory)
            throw error
        }
        try backend.kill(name)
        #expect(try !backend.running().contains(name))
        try backend.remove(name)
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
