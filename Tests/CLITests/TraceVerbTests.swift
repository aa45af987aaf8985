import Domain
import FoundationEssentials
import HTTPTypes
import Testing

@testable import CLI

@Suite struct TraceVerbTests {
    private static let task = "01JZ0000000000000000000001"

    private static func server(link: String? = nil) throws -> ScriptedServer {
        try ScriptedServer { request in
            switch request.path {
            case "/v1/tasks/\(task)/trace":
                let url = link ?? "/v1/traces/\(task)?expires=9&signature=ab"
                return .json(
                    200,
                    """
                    {"data":{"url":"\(url)","expires_at":"2026-03-01T12:15:00Z","bytes":1400,"truncated":true,
                    "complete":false}}
                    """)
            case "/v1/traces/\(task)" where request.query["signature"] == "ab": return .json(200, "the trace")
            default: return .json(404, #"{"error":{"code":"TRACE_NOT_AVAILABLE","message":"there is no trace"}}"#)
            }
        }
    }

    private static func inFolder(_ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/bgagent-cli-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    @Test func `a trace is written for its owner alone, and the token goes to the gateway alone`() async throws {
        try await Self.inFolder { folder in
            let server = try Self.server()
            let file = "\(folder)/trace.gz"
            let outcome = await Session(server).run("trace", "download", Self.task, "--file", file)
            #expect(outcome.code == .success)
            #expect(outcome.output == "\(file): 9 bytes\n")
            #expect(outcome.errors.contains("cut at its limit"))
            #expect(outcome.errors.contains("has not sent the end"))
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "the trace")
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let tokens = server.requests.map { $0.headers["Authorization"] }
            #expect(tokens == ["Bearer secret-token", nil])
        }
    }

    @Test func `a file that is there is kept, unless it is to be written over`() async throws {
        try await Self.inFolder { folder in
            let server = try Self.server()
            let file = "\(folder)/trace.gz"
            try Data("mine".utf8).write(to: URL(filePath: file))
            let kept = await Session(server).run("trace", "download", Self.task, "--file", file)
            #expect(kept.code == .failure)
            #expect(kept.errors.contains("--force"))
            #expect(server.requests.isEmpty)
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "mine")
            let forced = await Session(server).run("trace", "download", Self.task, "--file", file, "-f", "-o", "json")
            #expect(forced.code == .success)
            let told = try JSONValue(parsing: Array(forced.output.utf8))
            #expect(told["bytes"] == 9)
            #expect(told["truncated"] == true)
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "the trace")
        }
    }

    @Test func `an absolute link is followed, and a trace that is not there is told as such`() async throws {
        try await Self.inFolder { folder in
            let other = try Self.server()
            let server = try Self.server(link: "\(other.url)/v1/traces/\(Self.task)?expires=9&signature=ab")
            let outcome = await Session(server).run("trace", "download", Self.task, "--file", "\(folder)/a")
            #expect(outcome.code == .success)
            #expect(other.requests.count == 1)
            let none = await Session(server).run(
                "trace", "download", "01JZ0000000000000000000002", "--file", "\(folder)/b")
            #expect(none.code == .failure)
            #expect(none.errors.contains("TRACE_NOT_AVAILABLE"))
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/b"))
        }
    }
}
