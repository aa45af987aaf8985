import Config
import ContainerEngine

/// How agents are put into containers.
struct ContainerSettings: Sendable {
    /// Where the workspace's files lie.
    enum Workspace: String, CaseIterable, Sendable {
        /// In memory, with a size that holds on every engine.
        case memory
        /// On the engine's disk, with a size that its storage enforces.
        case disk
        /// On the engine's disk, without a limit.
        case unlimited
    }

    var engine: EngineAddress
    var installation: String
    var image: String
    /// Instead of the image's own command; empty = that one.
    var command: [String] = []
    /// Numeric, `uid:gid`.
    var user = "10001:10001"
    /// The engine's runtime; empty = its default.
    var runtime = ""
    var cpus = 2.0
    var memory: Int64 = 8 << 30
    var pids = 512
    var workspace = Workspace.memory
    var workspaceSize: Int64 = 4 << 30
    /// Of `/tmp` and of the home directory, each.
    var temporarySize: Int64 = 1 << 30
    /// The labels that agent gateways bear.
    var gatewayLabels: [String]
    /// Where networks of sandboxes take their addresses; nil = the engine's own pools.
    var subnets: SubnetRange?
    /// An engine that leaves the host's address on a sandbox's network will do.
    var allowsHost = false
    /// One call of the engine.
    var timeout = Duration.seconds(60)

    /// Reads the variables.
    init(_ environment: inout Environment, command: [String]) {
        let url = environment.url(
            "BGAGENT_ENGINE_URL", default: "unix:///var/run/docker.sock", schemes: EngineAddress.schemes,
            "the container engine: its socket, or http://host:port of the engine proxy")
        engine = EngineAddress(url) ?? ContainerSettings.socket
        installation = environment.string(
            "BGAGENT_INSTALLATION", default: "bgagent",
            "label of all that belongs to this installation; two on one engine need different ones")
        image = environment.string("BGAGENT_AGENT_IMAGE", default: "bgagent-agent", "the image of agents' containers")
        self.command = command
        user = environment.string(
            "BGAGENT_AGENT_USER", default: "10001:10001", "numeric uid:gid of agents in their containers; not 0")
        runtime =
            environment.optionalString(
                "BGAGENT_AGENT_RUNTIME",
                "the engine's runtime for agents, such as runsc; not set = the engine's default")
            ?? ""
        cpus = environment.double("BGAGENT_AGENT_CPUS", default: 2, in: 0.1...256, "processors of one agent")
        memory = environment.bytes(
            "BGAGENT_AGENT_MEMORY", default: "8g", in: 64 << 20...4 << 40, "memory of one agent; there is no swap")
        pids = environment.int(
            "BGAGENT_AGENT_PIDS", default: 512, in: 64...1_000_000, "processes and threads of one agent")
        workspace = environment.choice(
            "BGAGENT_AGENT_WORKSPACE", default: .memory,
            "where an agent's files lie: memory, which counts as the agent's memory; disk, which needs an engine with "
                + "storage quotas; unlimited, on disk without a quota")
        workspaceSize = environment.bytes(
            "BGAGENT_AGENT_WORKSPACE_SIZE", default: "4g", in: 1 << 20...16 << 40, "room for an agent's files")
        temporarySize = environment.bytes(
            "BGAGENT_AGENT_TMP_SIZE", default: "1g", in: 1 << 20...1 << 40,
            "room in /tmp and, as much again, in the home directory, both in memory")
        gatewayLabels = environment.list(
            "BGAGENT_AGENT_GATEWAY_LABEL", default: ["bgagent.role=agent-gateway"],
            "containers with all of these labels are agent gateways and join every sandbox's network")
        subnets = SubnetRange.read(&environment)
        allowsHost = environment.bool(
            "BGAGENT_AGENT_HOST_REACHABLE", default: false,
            "accept an engine, such as podman, that lets agents reach what listens on the host")
        timeout = environment.duration(
            "BGAGENT_ENGINE_TIMEOUT", default: .seconds(60), in: .milliseconds(100)...(.seconds(300)),
            "deadline of one call to the container engine")
        check(&environment)
    }

    /// Settings for tests and for what has no environment.
    init(engine: EngineAddress, installation: String, image: String, gatewayLabels: [String]) {
        self.engine = engine
        self.installation = installation
        self.image = image
        self.gatewayLabels = gatewayLabels
    }

    private func check(_ environment: inout Environment) {
        let ids = user.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        if ids.count != 2 || ids.contains(where: { ($0 ?? 0) <= 0 }) {
            environment.reject("BGAGENT_AGENT_USER=\(user) is not uid:gid in numbers above 0.")
        }
        let inMemory = temporarySize * 2 + (workspace == .memory ? workspaceSize : 0)
        if inMemory >= memory {
            environment.reject(
                "BGAGENT_AGENT_MEMORY is \(ByteText.write(memory)), and the files that are kept in memory may take "
                    + "\(ByteText.write(inMemory)) of it. Raise it, or lower BGAGENT_AGENT_WORKSPACE_SIZE and "
                    + "BGAGENT_AGENT_TMP_SIZE.")
        }
        if gatewayLabels.isEmpty || gatewayLabels.contains(where: { !$0.contains("=") }) {
            environment.reject("BGAGENT_AGENT_GATEWAY_LABEL is not a list of name=value.")
        }
    }

    private static let socket = EngineAddress("unix:///var/run/docker.sock").unsafelyUnwrapped
}
