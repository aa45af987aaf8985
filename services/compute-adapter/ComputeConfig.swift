import Config
import Glibc

/// What the compute adapter is told.
struct ComputeConfig: Sendable {
    let service: ServiceConfig
    let node: String
    let capacity: Int
    let backend: String
    /// The agent's program and arguments; empty = the image's own, in containers.
    let command: [String]
    let container: ContainerSettings
    let agentGatewayURL: String
    let agentEnvironment: [String: String]
    let lease: Duration
    let stopGrace: Duration
    let passEvery: Duration
    /// Where agents find their programs.
    let path: String

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "compute-adapter")
        node = environment.string("BGAGENT_NODE", default: ComputeConfig.hostname, "this compute node's name")
        capacity = environment.int("BGAGENT_CAPACITY", default: 4, in: 1...1000, "agents at work here at once")
        backend = environment.choice(
            "BGAGENT_COMPUTE_BACKEND", of: ["process", "container"], default: "process",
            "where agents run: as processes beside the adapter, which does not separate, or each in a container")
        let words = environment.optionalString(
            "BGAGENT_AGENT_COMMAND",
            "the agent's program and arguments, separated by spaces; needed for processes, in containers instead of "
                + "the image's own")
        command = (words ?? "").split(separator: " ").map(String.init)
        container = ContainerSettings(&environment, command: command)
        agentGatewayURL = environment.url(
            "BGAGENT_AGENT_GATEWAY_URL", default: "http://127.0.0.1:8081", schemes: ["http", "https"],
            "the agent gateway as agents reach it")
        var extra: [String: String] = [:]
        for pair in environment.list("BGAGENT_AGENT_ENVIRONMENT", "more variables for agents: NAME=value,…") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                extra[parts[0]] = parts[1]
            } else {
                environment.reject("BGAGENT_AGENT_ENVIRONMENT holds \(pair), which is not NAME=value.")
            }
        }
        agentEnvironment = extra
        lease = environment.duration(
            "BGAGENT_LEASE", default: .seconds(60), "life of a session's lease; agents renew it by heartbeat")
        stopGrace = environment.duration(
            "BGAGENT_STOP_GRACE", default: .seconds(20), "time for an agent to save its work before it is killed")
        passEvery = environment.duration(
            "BGAGENT_COMPUTE_PASS", default: .seconds(5), "how often sandboxes are compared with sessions")
        path = environment.string("PATH", default: "/usr/local/bin:/usr/bin:/bin", "search path, handed on to agents")
        check(&environment)
    }

    private func check(_ environment: inout Environment) {
        if backend == "process", command.isEmpty {
            environment.reject(
                "BGAGENT_AGENT_COMMAND is not set (the agent's program; agents run as processes). Set it, or set "
                    + "BGAGENT_COMPUTE_BACKEND to container.")
        }
        let isOwnHost = ["://127.0.0.1", "://localhost", "://[::1]"].contains { agentGatewayURL.contains($0) }
        if backend == "container", isOwnHost {
            environment.reject(
                "BGAGENT_AGENT_GATEWAY_URL=\(agentGatewayURL) names the container itself when a container asks. Set it "
                    + "to http://agent-gateway:8081: agents find the gateway under that name.")
        }
    }

    private static var hostname: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "node" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
