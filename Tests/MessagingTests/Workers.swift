import FoundationEssentials
import Glibc
import Lifecycle
import TestSupport
import Testing

/// Processes of `SpineWorker`, none of which outlives its test.
final class Workers: Sendable {
    private let spine: Spine
    private let all = Lock<[ChildProcess]>([])
    private let program: String

    private init(_ spine: Spine) throws {
        self.spine = spine
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let arguments = CommandLine.arguments.first ?? own
        // The program stands beside the test bundle; which of the two names it depends on the runner.
        let folders = [own, arguments].map { $0.split(separator: "/").dropLast().joined(separator: "/") }
        let candidates = folders.map { "/\($0)/SpineWorker" }
        program = candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? candidates[0]
    }

    /// Runs `body`; afterwards every worker is dead.
    static func with(_ spine: Spine, _ body: (Workers) async throws -> Void) async throws {
        let workers = try Workers(spine)
        do {
            try await body(workers)
        } catch {
            workers.killAll()
            throw error
        }
        workers.killAll()
    }

    /// Starts one; its sessions in Postgres bear `name`.
    ///
    /// - Parameters:
    ///   - isScaled: false leaves all times as the product has them.
    ///   - isSlow: true has its handler take its time, and fail now and then.
    func start(
        _ mode: String, name: String = Spine.underTest, isScaled: Bool = true, isSlow: Bool = false
    ) throws -> ChildProcess {
        let spec = ChildProcess.Spec(
            program, [mode],
            environment: [
                "SPINE_NAME": name, "SPINE_POSTGRES_URL": spine.database,
                "SPINE_AMQP_URL": spine.broker + (isScaled ? "?heartbeat=1" : ""),
                "SPINE_TIMING": isScaled ? "scaled" : "product", "SPINE_HANDLER": isSlow ? "slow" : "quick",
            ])
        let child = try ChildProcess.start(spec)
        all.withLock { $0.append(child) }
        return child
    }

    /// Asks the workers to stop and expects that they end in order.
    func stop(_ workers: [ChildProcess]) async throws {
        for worker in workers { worker.signal(SIGTERM) }
        for worker in workers {
            let exit = try await eventually("it ends by itself") { worker.ended() }
            #expect(exit == .code(0))
        }
    }

    /// True while a process has a connection to that port of this machine which the other side has not closed.
    static func isConnected(_ worker: ChildProcess, toPort port: Int) -> Bool {
        let folder = "/proc/\(worker.pid)/fd"
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let own = Set(
            descriptors.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)") })
        return wholeText(of: "/proc/net/tcp").split(separator: "\n").dropFirst().contains { line in
            // Local address, remote address, state (01 is established), …, inode.
            let fields = line.split(separator: " ")
            guard fields.count > 9, fields[3] == "01", let remote = fields[2].split(separator: ":").last else {
                return false
            }
            return Int(remote, radix: 16) == port && own.contains("socket:[\(fields[9])]")
        }
    }

    /// Reads to the end: files of the kernel come in pages and say no size.
    private static func wholeText(of path: String) -> String {
        let file = open(path, O_RDONLY)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(file, &buffer, buffer.count), count > 0 { bytes += buffer.prefix(count) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func killAll() {
        for child in all.withLock({ $0 }) where child.ended() == nil {
            child.signal(SIGKILL)
            _ = child.wait()
        }
    }
}
