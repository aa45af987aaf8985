import Config
import ContainerEngine

/// What the engine proxy is told.
struct ProxyConfig: Sendable {
    let service: ServiceConfig
    let engine: EngineAddress
    let host: String
    let port: Int
    let rules: ProxyRules
    let timeout: Duration

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "engine-proxy", postgres: false, amqp: false)
        let url = environment.url(
            "BGAGENT_ENGINE_URL", default: "unix:///var/run/docker.sock", schemes: EngineAddress.schemes,
            "the container engine behind the proxy")
        engine = EngineAddress(url) ?? EngineAddress("unix:///var/run/docker.sock").unsafelyUnwrapped
        host = environment.string("BGAGENT_ENGINE_PROXY_HOST", default: "127.0.0.1", "address to listen on")
        port = environment.int("BGAGENT_ENGINE_PROXY_PORT", default: 2375, in: 0...65535, "port to listen on")
        timeout = environment.duration(
            "BGAGENT_ENGINE_TIMEOUT", default: .seconds(60), in: .milliseconds(100)...(.seconds(300)),
            "deadline of one call to the container engine")
        rules = ProxyRules(
            installation: environment.string(
                "BGAGENT_INSTALLATION", default: "bgagent",
                "the label of what may be touched; as in the compute adapter"),
            images: environment.list(
                "BGAGENT_AGENT_IMAGES", default: ["bgagent-agent"],
                "images that containers may be made from; a name without a tag stands for all of its tags"),
            runtimes: environment.list(
                "BGAGENT_AGENT_RUNTIMES", default: ["runc", "runsc"],
                "runtimes that containers may ask for; the engine's default is always allowed"),
            gatewayLabels: environment.list(
                "BGAGENT_AGENT_GATEWAY_LABEL", default: ["bgagent.role=agent-gateway"],
                "containers with all of these labels may join sandboxes' networks; as in the compute adapter"),
            subnets: SubnetRange.read(&environment),
            maxMemory: environment.bytes(
                "BGAGENT_AGENT_MAX_MEMORY", default: "64g", in: 64 << 20...4 << 40,
                "the most memory that a container may ask for"),
            maxCPUs: environment.double(
                "BGAGENT_AGENT_MAX_CPUS", default: 64, in: 0.1...256, "the most processors that a container may ask for"
            ),
            maxPids: environment.int(
                "BGAGENT_AGENT_MAX_PIDS", default: 8192, in: 64...1_000_000,
                "the most processes that a container may ask for"))
        if rules.gatewayLabels.isEmpty {
            environment.reject("BGAGENT_AGENT_GATEWAY_LABEL names no label. Set it as the compute adapter has it.")
        }
        if rules.images.isEmpty { environment.reject("BGAGENT_AGENT_IMAGES names no image. Name one at least.") }
    }
}
