import Config
import Crypto
import Domain
import Forge
import FoundationEssentials
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Messaging
import Patterns
import Postgres
import Runtime
import Store
import Telemetry
import Tracing

@main
struct AgentGateway {
    static func main() async throws {
        let config = Environment.load(AgentGatewayConfig.init)
        if CommandLine.arguments.dropFirst().first == "pre-receive" {
            Process.exit(PreReceive.run(config))
        }
        try config.install()
        let runtime = try ServiceRuntime(config.service)
        let bell = InboxBell()
        let (router, calls) = try compose(
            config, bell: bell, pool: runtime.pool, hookBinary: Process.executable,
            variables: ProcessInfo.processInfo.environment, metrics: .process, tracer: runtime.tracer,
            log: runtime.log)
        let sweep = StagingSweep(
            pool: runtime.pool, directory: config.service.dataDirectory, keep: config.stagingKeep, log: runtime.log)
        GatewayChecks(config).add(to: runtime.checks)
        let traces = TrajectorySweep(
            pool: runtime.pool, store: config.artifacts, locks: config.lockDirectory, keep: config.traceKeep,
            log: runtime.log)
        await runtime.runAndExit([
            Periodic("staging sweep", every: .seconds(600), log: runtime.log) { try await sweep.runOnce() },
            Periodic("trace sweep", every: .seconds(600), log: runtime.log) { try await traces.runOnce() },
            calls,
            WakeHints(
                "agent-gateway", types: InboxBell.events, amqp: try runtime.amqp(), log: runtime.log
            ) { bell.ring($0) },
            try Server(
                AgentRouter.server(config), router, name: "agents", log: runtime.log,
                onAccess: Access.recorder(.process)),
        ])
    }

    /// All routes, and what has to run beside them.
    ///
    /// - Parameters:
    ///   - hookBinary: this program, for git to run as its hook.
    ///   - variables: the environment, of which the hook gets what it needs.
    static func compose(
        _ config: AgentGatewayConfig, bell: InboxBell = InboxBell(), pool: Pool, hookBinary: String,
        variables: [String: String], metrics: Metrics,
        tracer: Tracer = .off, log: Logger
    ) throws -> (Router, any Service) {
        let staging = StagingStore(
            directory: config.service.dataDirectory, hookBinary: hookBinary, git: config.git)
        let sessions = SessionRoutes(
            pool: pool, intake: EventIntake(redaction: try Redactor()),
            bundles: WorkBundles(directory: "\(config.service.dataDirectory)/artifacts", staging: staging),
            leaseSeconds: Int(config.lease.components.seconds), inboxPoll: config.inboxPoll,
            questionPatience: config.questionPatience, bell: bell, log: log)
        let git = GitRoutes(
            pool: pool, staging: staging,
            forges: ForgeAccess(config.forge, http: HTTPClient(.init(caFile: config.service.caFile))), tracer: tracer,
            backend: HTTPBackend(git: config.git, deadline: config.gitDeadline), maxPush: config.maxPushBytes,
            hookEnvironment: AgentGatewayConfig.hookEnvironment(variables))
        let model = try ModelRoutes(
            config.model, pool: pool, gateway: try Random.token(bytes: 12), caFile: config.service.caFile,
            metrics: metrics, tracer: tracer, log: log)
        var router = AgentRouter.make()
        sessions.add(to: &router)
        TrajectoryRoutes(
            pool: pool, access: sessions.access, store: config.artifacts, locks: config.lockDirectory
        ).add(to: &router)
        git.add(to: &router)
        model.add(to: &router)
        return (router, model.service)
    }
}
