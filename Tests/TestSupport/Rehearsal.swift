import Domain
import FoundationEssentials
import Glibc
import HTTPClient
import HTTPTypes
import Lifecycle
import Testing

/// A simulator of `rehearsal/` as a process of the test's own, on a free port, ended with the test.
package final class Rehearsal: Sendable {
    /// Why there is no simulator.
    package struct Unavailable: Error, CustomStringConvertible {
        package let description: String
    }

    private static let client = HTTPClient(.init(name: "rehearsal", threads: 4))

    /// Where the service is, or where it takes orders when it speaks no HTTP.
    package let url: String
    /// `smtp://host:port`, of the mail server.
    package let smtpURL: String?

    private init(url: String, smtpURL: String?) {
        self.url = url
        self.smtpURL = smtpURL
    }

    /// Starts the simulator, gives it to `body`, and ends it.
    ///
    /// Python comes from `BGAGENT_VENV`, or from `.venv` of the checkout; without one the test fails.
    package static func with<Result>(
        _ name: String, _ arguments: [String] = [], isolation: isolated (any Actor)? = #isolation,
        _ body: (Rehearsal) async throws -> Result
    ) async throws -> Result {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let venv = ProcessInfo.processInfo.environment["BGAGENT_VENV"] ?? "/\(root)/.venv"
        let python = "\(venv)/bin/python"
        guard FileManager.default.isExecutableFile(atPath: python) else {
            throw Unavailable(description: "\(python) is missing: scripts/bootstrap makes it")
        }
        let folder = FileManager.default.temporaryDirectory.path + "/rehearsal-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let output = open("\(folder)/out", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(output) }
        var spec = ChildProcess.Spec(
            python, ["-m", "rehearsal", name, "--port", "0", "--data", "\(folder)/data"] + arguments,
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin", "HOME": folder],
            directory: "/\(root)")
        spec.output = output
        spec.error = output
        let process = try ChildProcess.start(spec)
        defer {
            process.signal(SIGKILL)
            _ = process.wait()
        }
        let words = try await eventually("the simulator \(name) listens", within: .seconds(60)) { () -> [String]? in
            let text = try String(contentsOfFile: "\(folder)/out", encoding: .utf8)
            guard text.hasSuffix("\n"), let line = text.split(separator: "\n").last, line.hasPrefix("listening on ")
            else {
                if process.ended() != nil { throw Unavailable(description: text) }
                return nil
            }
            return line.split(separator: " ").map(String.init)
        }
        let url = words.first { $0.hasPrefix("http://") } ?? ""
        return try await body(Rehearsal(url: url, smtpURL: words.first { $0.hasPrefix("smtp://") }))
    }

    /// The folder of the sample repositories.
    package static var samples: String {
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/rehearsal/repositories"
    }

    /// What the simulator holds.
    package func state() async throws -> JSONValue { try await send("GET", "/__state", nil) }

    /// Gives the simulator something to hold.
    package func seed(_ value: JSONValue) async throws { _ = try await send("POST", "/__seed", value) }

    /// Orders a fault.
    ///
    /// - Parameter match: `method`, `path_regex`, `body_regex`.
    package func order(
        _ action: String, match: JSONValue, times: Int = 1, status: Int = 503, headers: JSONValue = [:],
        body: JSONValue = .null
    ) async throws {
        _ = try await send(
            "POST", "/__faults",
            [
                "action": .string(action), "match": match, "times": JSONValue(times), "status": JSONValue(status),
                "headers": headers, "body": body,
            ])
    }

    /// Every request so far with its answer, oldest first.
    package func log() async throws -> [JSONValue] { try await send("GET", "/__log", nil).array ?? [] }

    private func send(_ method: String, _ path: String, _ body: JSONValue?) async throws -> JSONValue {
        var request = ClientRequest(method: method, url: url + path, body: body.map { Array($0.text.utf8) } ?? [])
        request.headers = [("Content-Type", "application/json")]
        let response = try await Rehearsal.client.send(request)
        guard response.isSuccess else {
            throw Unavailable(description: "\(method) \(path): \(response.status) \(response.text)")
        }
        return response.body.isEmpty ? .null : try JSONText.decode(JSONValue.self, bytes: response.body)
    }
}
