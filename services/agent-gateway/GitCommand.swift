import FoundationEssentials
import Glibc
import HTTPTypes
import Lifecycle
import Threads

/// How a git command ended.
struct GitOutcome: Sendable {
    let exit: ChildProcess.Exit
    let output: [UInt8]
    let errors: String
    var isSuccess: Bool { exit == .code(0) }
    var text: String { String(decoding: output, as: UTF8.self) }
}

/// A git command failed or ran out of time; the words are git's own, without credentials.
struct GitError: Error, Sendable, CustomStringConvertible {
    let command: String
    let message: String
    let isTimeout: Bool
    var description: String { "git \(command): \(message)" }
}

/// Runs git with a deadline, its own environment, and no prompt. Blocks the calling thread.
struct GitCommand: Sendable {
    /// The account and password for one remote, handed over by GIT_ASKPASS.
    struct Credential: Sendable {
        let password: String
    }

    let askpass: String
    let home: String
    /// An authority to trust beside the system's.
    var caFile: String?

    /// Runs and returns the outcome, whatever it is. Throws only when the command did not end in time or never began.
    ///
    /// - Parameter input: what git reads from its standard input; nil = nothing.
    func run(
        _ arguments: [String], in directory: String? = nil, credential: Credential? = nil, input: String? = nil,
        environment extra: [String: String] = [:], deadline: Duration = .seconds(120), maxOutput: Int = 64 << 20
    ) throws -> GitOutcome {
        var environment = self.environment
        if let credential {
            environment["GIT_ASKPASS"] = askpass
            environment["BGAGENT_GIT_PASSWORD"] = credential.password
        }
        environment.merge(extra) { _, given in given }
        let output = try Capture()
        let errors = try Capture()
        var spec = ChildProcess.Spec("git", arguments, environment: environment)
        spec.directory = directory
        let source = try input.map { try Capture(holding: $0) }
        if let source { spec.input = source.descriptor }
        spec.output = output.descriptor
        spec.error = errors.descriptor
        let child = try ChildProcess.start(spec)
        let alarm = Alarm(after: deadline) { child.signal(SIGKILL) }
        let exit = withExtendedLifetime(source) { child.wait() }
        let ranOut = alarm.disarm()
        let words = String(decoding: try errors.content(limit: 16_384), as: UTF8.self)
        if ranOut {
            throw GitError(command: arguments.first ?? "", message: "no end within \(deadline)", isTimeout: true)
        }
        return GitOutcome(exit: exit, output: try output.content(limit: maxOutput), errors: words)
    }

    /// Runs and returns the output. Throws when git says no.
    @discardableResult
    func check(
        _ arguments: [String], in directory: String? = nil, credential: Credential? = nil, input: String? = nil,
        environment: [String: String] = [:], deadline: Duration = .seconds(120)
    ) throws -> String {
        let outcome = try run(
            arguments, in: directory, credential: credential, input: input, environment: environment,
            deadline: deadline)
        guard outcome.isSuccess else {
            throw GitError(
                command: arguments.first ?? "", message: String(outcome.errors.suffix(1000)), isTimeout: false)
        }
        return outcome.text
    }

    /// What every git process of ours sees: no configuration but the repository's own, nothing to ask.
    var environment: [String: String] {
        var environment = [
            "PATH": getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin", "HOME": home,
            "LANG": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_PROTOCOL_FROM_USER": "0", "GIT_ALLOW_PROTOCOL": "http:https", "GIT_HTTP_LOW_SPEED_LIMIT": "1",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
        ]
        if let caFile {
            environment["GIT_SSL_CAINFO"] = caFile
            environment["GIT_SSL_CAPATH"] = "/etc/ssl/certs"
        }
        return environment
    }

    /// An unlinked file that takes or gives a stream of a child, so that no pipe can fill up and stop it.
    private final class Capture {
        let descriptor: Int32

        init() throws {
            descriptor = try SpooledFile.openTemporary(in: "/tmp")
        }

        /// A file with this content, at its start.
        convenience init(holding text: String) throws {
            try self.init()
            var bytes = Array(text.utf8)[...]
            while !bytes.isEmpty {
                let step = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if step <= 0 {
                    throw GitError(command: "input", message: "no room: errno \(errno)", isTimeout: false)
                }
                bytes = bytes.dropFirst(step)
            }
            lseek(descriptor, 0, SEEK_SET)
        }

        deinit { close(descriptor) }

        func content(limit: Int) throws -> [UInt8] {
            let size = min(Int(lseek(descriptor, 0, SEEK_END)), limit)
            guard size > 0 else { return [] }
            var bytes = [UInt8](repeating: 0, count: size)
            var read = 0
            while read < size {
                let count = bytes.withUnsafeMutableBytes {
                    pread(descriptor, $0.baseAddress?.advanced(by: read), size - read, off_t(read))
                }
                if count <= 0 { break }
                read += count
            }
            return Array(bytes.prefix(read))
        }
    }
}
