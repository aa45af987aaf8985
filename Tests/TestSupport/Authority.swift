import FoundationEssentials
import Glibc
import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry
import Threads

/// A throw-away certificate authority in a folder of the test's own, made by the openssl command.
package struct Authority: Sendable {
    /// A server's certificate and key, as files.
    package struct Identity: Sendable {
        package let certificate: String
        package let key: String

        package init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// The command said no.
    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    /// Its own certificate: what a client is told to trust.
    package let file: String
    private let directory: String

    fileprivate init(directory: String) throws {
        self.directory = directory
        file = "\(directory)/ca.pem"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-subj", "/CN=authority \(UUID().uuidString)", "-days", "2")
    }

    /// A certificate for these names, each written as `DNS:localhost` or `IP:127.0.0.1`.
    package func issue(_ names: String..., expired: Bool = false) throws -> Identity {
        let name = UUID().uuidString
        try Data("subjectAltName=\(names.joined(separator: ","))\n".utf8)
            .write(to: URL(filePath: "\(directory)/\(name).ext"))
        try openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(name).key",
            "-out", "\(name).csr", "-subj", "/CN=server of a test")
        try openssl(
            "x509", "-req", "-in", "\(name).csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial",
            "\(UInt32.random(in: 1...UInt32.max))", "-days", expired ? "-1" : "2", "-extfile", "\(name).ext", "-out",
            "\(name).pem")
        return Identity(certificate: "\(directory)/\(name).pem", key: "\(directory)/\(name).key")
    }

    /// A folder that holds this authority alone, under its hash, as a system keeps those that it trusts.
    package func hashedDirectory() throws -> String {
        let folder = "\(directory)/hashed"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: file, toPath: "\(folder)/ca.pem")
        try openssl("rehash", folder)
        return folder
    }

    private func openssl(_ arguments: String...) throws {
        let errors = open("\(directory)/openssl.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { close(errors) }
        var spec = ChildProcess.Spec(
            "openssl", arguments, environment: ["PATH": "/usr/bin:/bin", "HOME": directory], directory: directory)
        spec.output = errors
        spec.error = errors
        let exit = try ChildProcess.start(spec).wait()
        guard exit == .code(0) else {
            let words = (try? String(contentsOfFile: "\(directory)/openssl.log", encoding: .utf8)) ?? ""
            throw Failed(description: "openssl \(arguments[0]): \(words)")
        }
    }
}

/// Makes an authority for `body` and removes its folder afterwards.
package func withAuthority<Result>(
    isolation: isolated (any Actor)? = #isolation, _ body: (Authority) async throws -> Result
) async throws -> Result {
    let directory = FileManager.default.temporaryDirectory.path + "/authority-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    return try await body(Authority(directory: directory))
}

/// Serves with an identity, or in the clear, on a free port of the loopback: `/` says hello, `/echo` gives a body back,
/// `/late` answers from another thread, and `/stream` sends a megabyte in parts.
package func withSecureServer<Result>(
    _ identity: Authority.Identity?, threadPerConnection: Bool = false,
    isolation: isolated (any Actor)? = #isolation, _ body: (Int) async throws -> Result
) async throws -> Result {
    var config = ServerConfig(mode: threadPerConnection ? .threadPerConnection : .pool)
    config.tls = try identity.map { try ServerTLS(certificateFile: $0.certificate, keyFile: $0.key) }
    config.drainTimeout = .seconds(1)
    var router = Router()
    router.on("GET", "/") { _ in .response(.text("hello")) }
    router.on("POST", "/echo", maxBody: 4 << 20) { .response(Response(status: 200, body: try $0.body.load())) }
    router.on("GET", "/late") { _ in
        .later(timeout: .seconds(10)) { responder in
            let thread = try? NamedThread("late") { responder.send(.text("late")) }
            if thread == nil { responder.send(.text("no thread", status: 500)) }
        }
    }
    router.on("GET", "/stream") { _ in .stream(status: 200, headers: [], reader: Parts(count: 64, size: 16 << 10)) }
    let server = try Server(config, router, log: .silent)
    try server.start()
    defer { server.stop() }
    return try await body(server.port)
}

/// A body of equal parts.
private final class Parts: BodyReader {
    private let left: Lock<Int>

    init(count: Int, size: Int) { left = Lock(count * size) }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        left.withLock { left in
            let count = min(left, buffer.count, 16 << 10)
            buffer.baseAddress?.initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "x"), count: count)
            left -= count
            return count
        }
    }

    func close() {}
}
