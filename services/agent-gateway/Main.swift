import Config
import Crypto
import Domain
import Forge
import FoundationEssentials
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Runtime
import Store
import Telemetry

@main
struct AgentGateway {
    static func main() async throws {
        let config = Environment.load(AgentGatewayConfig.init)
        if CommandLine.arguments.dropFirst().first == "pre-receive" {
            Process.exit(PreReceive.run(config))
        }
        try config.install()
        let runtime = try ServiceRuntime(config.service)
        let staging = StagingStore(
            directory: config.service.dataDirectory, hookBinary: Process.executable, git: config.git)
        let sessions = SessionRoutes(
            pool: runtime.pool, intake: EventIntake(redaction: try Redactor()),
            artifacts: ArtifactStore(directory: "\(config.service.dataDirectory)/artifacts", staging: staging),
            leaseSeconds: Int(config.lease.components.seconds), inboxPoll: config.inboxPoll, log: runtime.log)
        let git = GitRoutes(
            pool: runtime.pool, staging: staging, forges: ForgeAccess(config.forge, http: HTTPClient()),
            backend: HTTPBackend(git: config.git, deadline: config.gitDeadline), maxPush: config.maxPushBytes,
            hookEnvironment: AgentGatewayConfig.hookEnvironment(ProcessInfo.processInfo.environment))
        let model = try ModelRoutes(
            config.model, pool: runtime.pool, gateway: try Random.token(bytes: 12), metrics: .process, log: runtime.log)
        var router = AgentRouter.make()
        sessions.add(to: &router)
        git.add(to: &router)
        model.add(to: &router)
        await runtime.runAndExit([
            model.service, try Server(AgentRouter.server(config), router, name: "agents", log: runtime.log),
        ])
    }
}
