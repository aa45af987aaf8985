import FoundationEssentials
import Glibc
import Lifecycle
import TestSupport
import Testing

@Suite struct ChildProcessTests {
    /// Runs a shell script and returns what it printed and how it ended.
    private func shell(
        _ script: String, environment: [String: String] = [:], directory: String? = nil
    ) throws -> (output: String, exit: ChildProcess.Exit) {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        var spec = ChildProcess.Spec("/bin/sh", ["-c", script], environment: environment, directory: directory)
        spec.output = ends[1]
        let child: ChildProcess
        do {
            defer { close(ends[1]) }
            child = try ChildProcess.start(spec)
        }
        defer { close(ends[0]) }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = read(ends[0], &buffer, buffer.count), count > 0 { output += buffer.prefix(count) }
        return (String(decoding: output, as: UTF8.self), child.wait())
    }

    @Test func `a child has exactly the environment and the directory it was given`() throws {
        let result = try shell("/usr/bin/env | sort; /bin/pwd", environment: ["A": "1", "PWD": "/"], directory: "/")
        #expect(result.output.split(separator: "\n").filter { !$0.hasPrefix("_=") } == ["A=1", "PWD=/", "/"])
        #expect(result.exit == .code(0))
    }

    @Test func `a child inherits no descriptor but the standard three`() throws {
        let ours = fcntl(2, F_DUPFD, 200)  // without close-on-exec, as a C library might leave one
        defer { close(ours) }
        let result = try shell("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done", environment: ["PATH": "/bin"])
        // The shell opens one or two of its own, with low numbers or 255.
        let numbers = result.output.split(separator: "\n").compactMap { Int($0) }
        #expect(Set(numbers).isSubset(of: [0, 1, 2, 3, 10, 255]))
    }

    @Test(arguments: [
        ("exit 0", ChildProcess.Exit.code(0)), ("exit 7", .code(7)), ("kill -9 $$", .signal(9)),
        ("kill -TERM $$", .signal(15)), ("kill -PIPE $$", .signal(13)),
    ])
    func `the end of a child is told`(script: String, exit: ChildProcess.Exit) throws {
        #expect(try shell(script).exit == exit)
    }

    @Test func `a program that is not there is an error`() {
        #expect(throws: ChildProcess.NotStarted.self) { try ChildProcess.start(.init("/nowhere/at-all")) }
        #expect(throws: ChildProcess.NotStarted.self) {
            try ChildProcess.start(.init("/bin/true", directory: "/nowhere"))
        }
    }

    @Test func `a signal reaches the whole group`() async throws {
        let child = try ChildProcess.start(.init("/bin/sh", ["-c", "/bin/sleep 600 & wait"]))
        #expect(child.ended() == nil)
        try await eventually("the grandchild runs") { groupMembers(child.pid).count == 2 }
        child.signal(SIGTERM)
        #expect(child.wait() == .signal(SIGTERM))
        try await eventually("the group is gone") { groupMembers(child.pid).isEmpty }
        child.signal(SIGKILL)  // of a process that is gone: nothing happens
    }

    @Test func `what a session leaves behind dies with it`() async throws {
        let child = try ChildProcess.start(.init("/bin/sh", ["-c", "/bin/sleep 600 & exit 3"]))
        #expect(child.wait() == .code(3))
        #expect(child.wait() == .code(3))
        try await eventually("the group is gone") { groupMembers(child.pid).isEmpty }
    }

    /// The living processes of a group, by /proc.
    private func groupMembers(_ group: Int32) -> [String] {
        let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return processes.filter { process in
            guard Int32(process) != nil,
                let stat = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
                let afterName = stat.split(separator: ")").last?.split(separator: " "), afterName.count > 2
            else { return false }
            return afterName[2] == "\(group)" && afterName[0] != "Z"
        }
    }
}
