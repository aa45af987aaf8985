import CLinux
import Glibc

/// A process that this one started. It is not ended by dropping this object.
package final class ChildProcess: Sendable {
    /// What to start, and with what. Nothing is inherited but what stands here.
    package struct Spec: Sendable {
        /// An absolute path, or a name to look for in the PATH of this process.
        package var path: String
        /// The arguments behind the program's name.
        package var arguments: [String]
        /// The whole environment.
        package var environment: [String: String]
        /// The working directory; nil = the one of this process.
        package var directory: String?
        /// Descriptors of this process for the three standard streams; -1 = `/dev/null`. The caller closes its own.
        package var input: Int32 = -1
        package var output: Int32 = -1
        package var error: Int32 = -1
        /// True gives the child a session and process group of its own, which `signal(_:wholeGroup:)` reaches.
        package var leadsSession = true

        package init(
            _ path: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil
        ) {
            self.path = path
            self.arguments = arguments
            self.environment = environment
            self.directory = directory
        }
    }

    /// How a process ended.
    package enum Exit: Sendable, Hashable {
        /// By itself, with this code; -1 when another part of this process collected the end, so that it is unknown.
        case code(Int32)
        /// By this signal.
        case signal(Int32)
    }

    /// The process could not be started; nothing of it ran.
    package struct NotStarted: Error, CustomStringConvertible {
        package let path: String
        /// The reason as errno.
        package let code: Int32

        package var description: String {
            "cannot start \(path): \(String(cString: strerror(code)))"
        }
    }

    /// Its process id; of no meaning once it has been waited for.
    package let pid: Int32
    private let leadsSession: Bool
    private let exit = Lock<Exit?>(nil)

    private init(pid: Int32, leadsSession: Bool) {
        self.pid = pid
        self.leadsSession = leadsSession
    }

    /// Starts a process.
    package static func start(_ spec: Spec) throws -> ChildProcess {
        let arguments = CStrings([spec.path] + spec.arguments)
        let environment = CStrings(spec.environment.map { "\($0)=\($1)" }.sorted())
        defer {
            arguments.free()
            environment.free()
        }
        var pid: Int32 = 0
        let code = spec.path.withCString { path in
            withOptionalCString(spec.directory) { directory in
                var raw = linux_spawn(
                    path: path, arguments: arguments.pointers, environment: environment.pointers, directory: directory,
                    standard_input: spec.input, standard_output: spec.output, standard_error: spec.error,
                    new_session: spec.leadsSession ? 1 : 0)
                return linux_start(&raw, &pid)
            }
        }
        guard code == 0 else { throw NotStarted(path: spec.path, code: code) }
        return ChildProcess(pid: pid, leadsSession: spec.leadsSession)
    }

    /// Blocks until the process has ended. Any number of threads may wait.
    package func wait() -> Exit {
        while true {
            if let exit = ended() { return exit }
            var about = siginfo_t()
            // Leaves the end to be collected under the lock, so that no signal can hit a process id that is used anew.
            _ = waitid(P_PID, id_t(pid), &about, WEXITED | WNOWAIT)
        }
    }

    /// How the process ended, or nil while it runs.
    ///
    /// When the end of a session's leader is first seen, what it left behind in its group is killed: nothing of a
    /// session outlives it.
    package func ended() -> Exit? {
        exit.withLock { exit in
            if exit != nil { return exit }
            var about = siginfo_t()
            guard waitid(P_PID, id_t(pid), &about, WEXITED | WNOWAIT | WNOHANG) == 0 else {
                exit = .code(-1)  // somebody else collected it: the number may belong to a stranger by now
                return exit
            }
            if about.si_signo == 0 { return nil }
            // Before the process id is given back: until then no other group can bear this number.
            if leadsSession { kill(-pid, SIGKILL) }
            var status: Int32 = 0
            let found = waitpid(pid, &status, WNOHANG)
            let signal = status & 0x7F
            exit = found != pid ? .code(-1) : signal == 0 ? .code(status >> 8 & 0xFF) : .signal(signal)
            return exit
        }
    }

    /// Sends a signal, unless the process has been waited for.
    ///
    /// - Parameter wholeGroup: to every process of its group, when it leads a session; else to it alone.
    package func signal(_ number: Int32, wholeGroup: Bool = true) {
        exit.withLock { exit in
            if exit == nil { kill(wholeGroup && leadsSession ? -pid : pid, number) }
        }
    }
}

/// Texts as C wants them: a null-terminated array of null-terminated strings.
private struct CStrings {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ texts: [String]) {
        count = texts.count
        pointers = .allocate(capacity: texts.count + 1)
        for (index, text) in texts.enumerated() { (pointers + index).initialize(to: strdup(text)) }
        (pointers + texts.count).initialize(to: nil)
    }

    func free() {
        for index in 0..<count { Glibc.free(pointers[index]) }
        pointers.deallocate()
    }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}
