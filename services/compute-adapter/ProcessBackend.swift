import Domain
import FoundationEssentials
import Glibc
import Lifecycle
import Threads

/// Agents as plain processes on this machine: for development, the demo and tests.
///
/// It does not separate: an agent can read what its user can read. What belongs to a session is found by the variable
/// BGAGENT_SESSION in the environments of /proc, so nothing is lost when this process dies, and nothing escapes by
/// leaving its process group.
final class ProcessBackend: ComputeBackend {
    let name = "process"
    private let directory: String
    private let command: [String]
    private let children = Lock([String: ChildProcess]())
    /// How our own children ended, until they are removed.
    private let ends = Lock([String: ChildProcess.Exit]())

    /// - Parameters:
    ///   - directory: holds one directory per session: workspace, home, tmp, log.
    ///   - command: the agent's program and arguments.
    init(directory: String, command: [String]) {
        self.directory = directory
        self.command = command
    }

    func start(_ spec: SandboxSpec) throws {
        let root = path(spec.name)
        for part in ProcessBackend.parts {
            try FileManager.default.createDirectory(
                atPath: "\(root)/\(part)", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        let log = open("\(root)/log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw SandboxError(reason: "the log of \(spec.name) cannot be opened: errno \(errno)") }
        defer { close(log) }
        guard let program = command.first else { throw SandboxError(reason: "no agent command is configured") }
        var child = ChildProcess.Spec(
            program, Array(command.dropFirst()),
            environment: spec.environment.merging([
                "HOME": "\(root)/home", "TMPDIR": "\(root)/tmp", "BGAGENT_WORKSPACE": "\(root)/workspace",
            ]) { _, own in own })
        child.directory = "\(root)/workspace"
        child.output = log
        child.error = log
        let started = try ChildProcess.start(child)
        children.withLock { $0[spec.name] = started }
        // From here on an adapter of a later life finds it, too: not before its environment can be read.
        try settle(for: .seconds(1)) { try started.ended() != nil || sessions()[spec.name] != nil }
    }

    func running() throws -> Set<String> {
        reap()
        let own = children.withLock { Set($0.keys) }
        return own.union(try sessions().keys)
    }

    func stop(_ name: String) throws {
        // The leader alone: it saves the work and ends its tools in its own order.
        guard let pids = try sessions()[name] else { return }
        let leaders = pids.filter { getsid($0) == $0 }
        for pid in leaders.isEmpty ? pids : [leaders.min() ?? pids[0]] { Glibc.kill(pid, SIGTERM) }
    }

    func kill(_ name: String) throws {
        // Again until nothing is left: a process may fork between the look and the signal. Collected, too: what is left
        // uncollected is found by whoever waits for any child of this process.
        try settle(for: .seconds(2)) {
            let pids = try sessions()[name] ?? []
            for pid in pids { Glibc.kill(pid, SIGKILL) }
            reap()
            return pids.isEmpty && children.withLock { $0[name] == nil }
        }
    }

    func leftovers() throws -> Set<String> {
        guard FileManager.default.fileExists(atPath: directory) else { return [] }
        return Set(
            try FileManager.default.contentsOfDirectory(atPath: directory).filter { name in
                name.hasPrefix("bgagent-")
                    && ProcessBackend.parts.contains { FileManager.default.fileExists(atPath: "\(path(name))/\($0)") }
            })
    }

    func remove(_ name: String) throws {
        for part in ProcessBackend.parts {
            let full = "\(path(name))/\(part)"
            if FileManager.default.fileExists(atPath: full) { try FileManager.default.removeItem(atPath: full) }
        }
        ends.withLock { $0[name] = nil }
    }

    func ending(_ name: String) -> String? {
        reap()
        switch ends.withLock({ $0[name] }) {
        case nil, .code(-1): return nil
        case .code(let code): return SandboxEnding.exit(code: Int(code))
        case .signal(let signal): return SandboxEnding.exit(code: 128 + Int(signal))
        }
    }

    func logTail(_ name: String, bytes: Int) -> String {
        LogFile(path: "\(path(name))/log").tail(bytes)
    }

    func output(_ name: String, from offset: Int, limit: Int) throws -> [UInt8] {
        try LogFile(path: "\(path(name))/log").read(from: offset, limit: limit)
    }

    func usage(_ name: String) throws -> SandboxUsage? {
        guard let pids = try sessions()[name] else { return nil }
        return ProcessUsage.sum(of: pids)
    }

    func check() -> [Check] {
        guard let program = command.first else {
            return [
                .failed("backend", "no agent command is configured", remedy: "Set BGAGENT_AGENT_COMMAND.")
            ]
        }
        let places = program.hasPrefix("/") ? [""] : searchPath.split(separator: ":").map { "\($0)/" }
        guard places.contains(where: { access($0 + program, X_OK) == 0 }) else {
            return [
                .failed(
                    "backend", "\(program) cannot be run",
                    remedy: "Set BGAGENT_AGENT_COMMAND to the agent's program, with its whole path.")
            ]
        }
        return [.passed("backend", "process; it does not separate agents from this machine")]
    }

    private var searchPath: String { getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin" }

    /// What belongs to a sandbox beside its log.
    private static let parts = ["workspace", "home", "tmp"]

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Collects the ends of our own children; those of a former life are collected by init.
    private func reap() {
        children.withLock { children in
            for (name, child) in children {
                guard let exit = child.ended() else { continue }
                children[name] = nil
                ends.withLock { $0[name] = exit }
            }
        }
    }

    /// Looks until it is so or the time is up.
    private func settle(for patience: Duration, _ isSo: () throws -> Bool) throws {
        let deadline = Deadline.after(patience)
        while try !isSo(), !deadline.isOver { poll(nil, 0, 2) }
    }

    /// Live processes by the session that their environment names.
    private func sessions() throws -> [String: [Int32]] {
        let marker = Array("BGAGENT_SESSION=".utf8)
        var found: [String: [Int32]] = [:]
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let pid = Int32(entry), pid != getpid(), let environment = environment(of: pid) else { continue }
            for variable in environment.split(separator: 0) where variable.starts(with: marker) {
                let session = String(decoding: variable.dropFirst(marker.count), as: UTF8.self)
                if isOurs(session) { found[session, default: []].append(pid) }
            }
        }
        return found
    }

    /// A process shows no environment for a moment while it becomes another program, so an empty one is looked at again.
    private func environment(of pid: Int32) -> Data? {
        for look in 0..<3 {
            if look > 0 { poll(nil, 0, 1) }
            // Threads of the kernel have no program, and no environment ever.
            guard !isZombie(pid),
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) != nil,
                let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ")
            else { return nil }
            if !environment.isEmpty { return environment }
        }
        return nil
    }

    /// True for sessions of this node: another installation on the machine keeps its own directory.
    private func isOurs(_ session: String) -> Bool {
        session.hasPrefix("bgagent-") && FileManager.default.fileExists(atPath: path(session))
    }

    private func isZombie(_ pid: Int32) -> Bool {
        ProcessBackend.stat(of: pid)?.first.map { $0 == "Z" } ?? true
    }

    /// What the kernel tells of a process, behind its name; nil once it is gone.
    private static func stat(of pid: Int32) -> [Substring]? {
        guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: stat, as: UTF8.self)
        guard let end = text.lastIndex(of: ")") else { return nil }
        return text[end...].dropFirst(2).split(separator: " ")
    }
}
