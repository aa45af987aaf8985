import Config
import ContainerEngine
import Domain
import Glibc
import Lifecycle
import Threads

/// Each agent in a container of its own, over the API of Docker's engine.
///
/// Container, volume and network of a sandbox bear its name and our labels; nothing is remembered here, so a later life
/// of the adapter finds all of it again, and frees what is nobody's any more. Something without our labels is never
/// touched.
final class ContainerBackend: ComputeBackend {
    let name = "container"
    private let settings: ContainerSettings
    private let requests: ContainerRequests
    private let engine: EngineClient
    private let links: GatewayLinks
    private let directory: String
    private let logs = Lock([String: ContainerLog]())

    /// - Parameters:
    ///   - directory: holds one directory per session, with the copy of its log.
    ///   - node: this compute node; sandboxes of others are left alone.
    init(_ settings: ContainerSettings, node: String, directory: String) {
        self.settings = settings
        self.directory = directory
        requests = ContainerRequests(settings: settings, node: node)
        engine = EngineClient(settings.engine, timeout: settings.timeout)
        links = GatewayLinks(engine, labels: settings.gatewayLabels)
    }

    func start(_ spec: SandboxSpec) throws {
        do {
            try makeNetwork(spec.name)
            if let volume = requests.volume(spec.name) { try engine.call("POST", "/volumes/create", body: volume) }
            try makeContainer(spec)
            // Before it runs, so that its first call reaches somebody.
            try links.connect(spec.name)
            try engine.call("POST", "/containers/\(spec.name)/start")
        } catch {
            try? remove(spec.name)
            throw error
        }
    }

    func running() throws -> Set<String> {
        try Set(names(ofContainers: false))
    }

    /// A gateway that was made anew knows nothing of the sandboxes' networks.
    func mend() throws {
        let running = try self.running()
        if !running.isEmpty { try links.mend(running) }
    }

    func stop(_ name: String) throws {
        // To the container's init, which hands it to the harness alone: that one ends its tools in its own order.
        try ifThere { try engine.call("POST", "/containers/\(name)/kill", query: [("signal", "SIGTERM")]) }
    }

    func kill(_ name: String) throws {
        try ifThere { try engine.call("POST", "/containers/\(name)/kill", query: [("signal", "SIGKILL")]) }
        let deadline = Deadline.after(.seconds(10))
        while try state(name)?["Running"]?.bool == true {
            guard !deadline.isOver else {
                throw SandboxError(reason: "\(name) still runs ten seconds after it was killed")
            }
            poll(nil, 0, 20)
        }
    }

    func leftovers() throws -> Set<String> {
        let query = [filter]
        let volumes = try engine.call("GET", "/volumes", query: query)["Volumes"]?.array ?? []
        let networks = try engine.call("GET", "/networks", query: query).array ?? []
        // Podman lists the volumes that bear any of the labels: others' as well.
        let labelled = (volumes + networks).map { $0["Labels"] }.filter(isOwn)
        return try Set(names(ofContainers: true) + labelled.compactMap { $0?[SandboxNaming.session]?.string })
    }

    private func isOwn(_ labels: JSONValue?) -> Bool {
        labels?[SandboxNaming.installation]?.string == settings.installation
            && labels?[SandboxNaming.node]?.string == requests.node
    }

    func remove(_ name: String) throws {
        try? copyLog(name)
        try removeContainer(name)
        // A volume may go though the network has to stay for another pass.
        defer { try? ifThere { try engine.call("DELETE", "/volumes/\(name)") } }
        try links.disconnect(name)
        try ifThere { try engine.call("DELETE", "/networks/\(name)") }
        logs.withLock { $0.removeValue(forKey: name) }?.finish()
    }

    /// Podman refuses to remove what ends at that very moment, and a container that is still there keeps its network.
    private func removeContainer(_ name: String) throws {
        let deadline = Deadline.after(.seconds(10))
        while true {
            do {
                try engine.call("DELETE", "/containers/\(name)", query: [("force", "true"), ("v", "true")])
                return
            } catch let error as EngineError where error.code == .notFound {
                return
            } catch let error as EngineError where error.code == .conflict {
                if deadline.isOver { return }
                poll(nil, 0, 20)
            }
        }
    }

    func ending(_ name: String) -> String? {
        guard let state = try? state(name), state["Running"]?.bool != true else { return nil }
        if state["Status"]?.string == "created" { return "The sandbox was not started." }
        let code = state["ExitCode"]?.integer ?? -1
        if state["OOMKilled"]?.bool == true {
            let limit = SandboxEnding.gigabytes(settings.memory)
            return code == 137
                ? "The sandbox was killed: out of memory (\(limit))."
                : "The sandbox ended with exit code \(code); a process in it was killed: out of memory (\(limit))."
        }
        if let reason = state["Error"]?.string, !reason.isEmpty { return "The sandbox did not run: \(reason)." }
        return SandboxEnding.exit(code: Int(code))
    }

    func logTail(_ name: String, bytes: Int) -> String {
        try? copyLog(name)
        return log(name).file.tail(bytes)
    }

    func output(_ name: String, from offset: Int, limit: Int) throws -> [UInt8] {
        try copyLog(name)
        return try log(name).file.read(from: offset, limit: limit)
    }

    func usage(_ name: String) throws -> SandboxUsage? {
        let query = [("stream", "false"), ("one-shot", "true")]
        var stats = JSONValue.null
        try ifThere { stats = try engine.call("GET", "/containers/\(name)/stats", query: query) }
        guard let cpu = stats["cpu_stats"]?["cpu_usage"]?["total_usage"]?.number,
            let memory = stats["memory_stats"]?["usage"]?.integer
        else { return nil }
        // Files that the kernel may forget at any time are not the sandbox's need. Control groups v1, then v2.
        let details = stats["memory_stats"]?["stats"]
        let cache = (details?["total_inactive_file"] ?? details?["inactive_file"])?.integer ?? 0
        return SandboxUsage(
            cpuSeconds: cpu / 1e9, memoryBytes: max(0, memory - cache),
            pids: Int(stats["pids_stats"]?["current"]?.integer ?? 0))
    }

    private var filter: (String, String) {
        SandboxNaming.filter(labels: [
            "\(SandboxNaming.installation)=\(settings.installation)", "\(SandboxNaming.node)=\(requests.node)",
        ])
    }

    private func names(ofContainers all: Bool) throws -> [String] {
        let containers = try engine.call("GET", "/containers/json", query: [("all", all ? "true" : "false"), filter])
        return (containers.array ?? []).compactMap { $0["Labels"]?[SandboxNaming.session]?.string }
    }

    private func state(_ name: String) throws -> JSONValue? {
        var container = JSONValue.null
        try ifThere { container = try engine.call("GET", "/containers/\(name)/json") }
        return container["State"]
    }

    private func makeContainer(_ spec: SandboxSpec) throws {
        let name = [("name", spec.name)]
        do {
            try engine.call("POST", "/containers/create", query: name, body: requests.container(spec))
        } catch let error as EngineError where error.description.contains("unknown mount option") {
            let body = requests.container(spec, owned: false)
            try engine.call("POST", "/containers/create", query: name, body: body)
        }
    }

    /// With a range of our own, in the first part of it that is free; another network may be quicker.
    private func makeNetwork(_ name: String) throws {
        guard let range = settings.subnets else { return try makeNetwork(name, subnet: nil) }
        let networks = try engine.call(
            "GET", "/networks",
            query: [
                SandboxNaming.filter(labels: ["\(SandboxNaming.installation)=\(settings.installation)"])
            ])
        let taken = (networks.array ?? []).flatMap { $0["IPAM"]?["Config"]?.array ?? [] }
            .compactMap { $0["Subnet"]?.string }
        let start = Int.random(in: 0..<range.count)
        for subnet in range.free(besides: taken, from: start, limit: 16) {
            do {
                return try makeNetwork(name, subnet: subnet)
            } catch let error as EngineError where error.code == .addressTaken {
                continue
            }
        }
        throw SandboxError(
            reason: "BGAGENT_AGENT_SUBNETS=\(range) has no room for one more network. Give a larger range, or lower "
                + "BGAGENT_CAPACITY.")
    }

    private func makeNetwork(_ name: String, subnet: String?) throws {
        let made = try engine.call("POST", "/networks/create", body: requests.network(name, subnet: subnet))
        let isRecognized = made["Warning"]?.string?.contains(SandboxNaming.withoutHostAddress) != true
        guard isRecognized || settings.allowsHost else {
            throw SandboxError(
                reason: "This container engine leaves the host's address on a sandbox's network (podman does): agents "
                    + "would reach what listens on the host. Use Docker's engine, or accept it with "
                    + "BGAGENT_AGENT_HOST_REACHABLE=true.")
        }
        // Agents would run without it, and nobody would know.
        guard isRecognized || settings.runtime.isEmpty else {
            throw SandboxError(
                reason: "This container engine may start sandboxes in another runtime than BGAGENT_AGENT_RUNTIME="
                    + "\(settings.runtime) (podman does). Name the runtime in the engine's own settings, and leave "
                    + "this one empty.")
        }
    }

    private func log(_ name: String) -> ContainerLog {
        logs.withLock { logs in
            if let known = logs[name] { return known }
            let log = ContainerLog(directory: "\(directory)/\(name)")
            logs[name] = log
            return log
        }
    }

    private func copyLog(_ name: String) throws {
        try ifThere {
            try log(name).update { since, take in
                var query = [("stdout", "true"), ("stderr", "true"), ("timestamps", "true")]
                if let since {
                    let fraction = String(1_000_000_000 + since % 1_000_000_000).dropFirst()
                    query.append(("since", "\(since / 1_000_000_000).\(fraction)"))
                }
                try engine.parts("GET", "/containers/\(name)/logs", query: query, take)
            }
        }
    }

    /// What is gone, or does not run any more, needs no more doing.
    private func ifThere(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as EngineError where error.code == .notFound || error.code == .conflict {}
    }
}
