import ContainerEngine
import Domain
import FoundationEssentials
import Glibc
import Lifecycle
import TestSupport
import Testing
import Threads

@testable import ComputeAdapter

/// A way to the engine that the same tests go.
enum EngineWay: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// Straight to the engine's socket.
    case direct
    /// Through the engine proxy, as a process of its own.
    case proxy
    /// Through the proxy, under gVisor.
    case gvisor

    var testDescription: String { rawValue }

    /// Those that this run goes: scripts/podman names the ones that podman has.
    static var tested: [EngineWay] {
        guard let words = getenv("BGAGENT_TEST_ENGINE_WAYS").map({ String(cString: $0) }) else { return allCases }
        return words.split(separator: " ").compactMap { EngineWay(rawValue: String($0)) }
    }
}

/// A container backend in a corner of the engine of its own, with an agent gateway there.
struct ContainerFixture: Sendable {
    let corner: TestEngine
    let settings: ContainerSettings
    let directory: String
    let proxy: ProxyProcess?

    static let patience = Duration.seconds(180)

    static func with(
        _ way: EngineWay = .direct, gateway: Bool = true, _ body: (ContainerFixture) async throws -> Void
    ) async throws {
        try await TestEngine.with { corner in
            let proxy = try way == .direct ? nil : ProxyProcess(corner)
            defer { proxy?.end() }
            if let proxy { try await proxy.begin() }
            if gateway { try corner.startGateway() }
            let address = try #require(EngineAddress(proxy?.url ?? corner.url))
            var settings = ContainerSettings(
                engine: address, installation: corner.installation, image: TestEngine.image,
                gatewayLabels: [corner.gatewayLabel])
            settings.runtime = way == .gvisor ? "runsc" : ""
            settings.cpus = 1
            settings.memory = 192 << 20
            // gVisor's own threads count.
            settings.pids = way == .gvisor ? 512 : 100
            settings.workspaceSize = 16 << 20
            settings.temporarySize = 8 << 20
            settings.timeout = .seconds(180)
            settings.allowsHost = try corner.isPodman
            let directory = "/tmp/bgagent-compute-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: directory) }
            try await body(
                ContainerFixture(corner: corner, settings: settings, directory: directory, proxy: proxy))
        }
    }

    /// A backend whose sandboxes run a shell text; `change` adapts its settings.
    func backend(
        _ script: String, node: String = "n1", _ change: (inout ContainerSettings) -> Void = { _ in }
    ) -> ContainerBackend {
        var settings = settings
        settings.command = ["bash", "-c", script]
        change(&settings)
        return ContainerBackend(settings, node: node, directory: directory)
    }

    func spec(_ name: String) -> SandboxSpec {
        SandboxSpec(name: name, environment: ["BGAGENT_SESSION": name, "LANG": "C.UTF-8"])
    }

    /// Starts a sandbox and waits for its end; gives what it said.
    func run(_ script: String, _ change: (inout ContainerSettings) -> Void = { _ in }) async throws -> Ended {
        let (backend, name) = (self.backend(script, change), TestEngine.sessionName())
        try backend.start(spec(name))
        try await eventually("the sandbox ends", within: Self.patience) { try !backend.running().contains(name) }
        let ended = Ended(output: backend.logTail(name, bytes: 100_000), ending: backend.ending(name) ?? "")
        try backend.remove(name)
        return ended
    }

    /// What the reason of an end says when memory was too little.
    var tooLittleMemory: String {
        get throws { try corner.isPodman ? "killed by signal 9" : "killed: out of memory (192 MB)" }
    }

    struct Ended {
        let output: String
        let ending: String
    }
}

/// The engine proxy as a process of its own, for one corner.
final class ProxyProcess: Sendable {
    let url: String
    private let spec: ChildProcess.Spec
    private let child = Lock<ChildProcess?>(nil)

    init(_ corner: TestEngine, environment: [String: String] = [:]) throws {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let arguments = CommandLine.arguments.first ?? own
        // The program stands beside the test bundle; which of the two names it depends on the runner.
        let folders = [own, arguments].map { $0.split(separator: "/").dropLast().joined(separator: "/") }
        let candidates = folders.flatMap { ["/\($0)/engine-proxy", "/\($0)/EngineProxy"] }
        let program = candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? candidates[0]
        let port = Self.freePort()
        url = "http://127.0.0.1:\(port)"
        let settings = [
            "BGAGENT_ENGINE_URL": corner.url, "BGAGENT_ENGINE_PROXY_PORT": String(port),
            "BGAGENT_INSTALLATION": corner.installation, "BGAGENT_AGENT_IMAGES": "debian,\(corner.installation)",
            "BGAGENT_AGENT_GATEWAY_LABEL": corner.gatewayLabel, "BGAGENT_ENGINE_TIMEOUT": "180s",
        ]
        spec = ChildProcess.Spec(program, environment: settings.merging(environment) { _, new in new })
    }

    /// Starts it and waits until it answers.
    func begin() async throws {
        let started = try ChildProcess.start(spec)
        child.withLock { $0 = started }
        let client = EngineClient(try #require(EngineAddress(url)), timeout: .seconds(5))
        try await eventually("the proxy answers", within: ContainerFixture.patience) { try !client.about().isNull }
    }

    func signal(_ number: Int32) { child.withLock { $0 }?.signal(number) }

    /// Kills it and waits until it is gone.
    func end() {
        guard let running = child.withLock({ $0 }) else { return }
        running.signal(SIGKILL)
        _ = running.wait()
        child.withLock { $0 = nil }
    }

    /// A port that nobody listens on at this moment.
    private static func freePort() -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(descriptor, $0, length)
                _ = getsockname(descriptor, $0, &length)
            }
        }
        return Int(address.sin_port.bigEndian)
    }
}
