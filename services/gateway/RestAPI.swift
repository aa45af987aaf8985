import Artifacts
import HTTPServer
import Lifecycle
import Patterns
import Postgres
import Screening
import Store
import Telemetry
import Tracing

/// The whole REST API: every endpoint over one pool, and the server that answers for it.
struct RestAPI: Sendable {
    let endpoints: [Endpoint]
    let server: Server
    let watch: EventWatch
    let logWatch: LogWatch
    let authenticator: Authenticator
    let policies: PolicyClient

    /// Binds the port; nothing is answered until the server runs.
    init(
        _ config: ServerConfig, pool: Pool, settings: GatewaySettings, policyURL: String? = nil,
        screener: Screener.Settings = Screener.Settings(), artifacts: any ArtifactStore, publicURL: String? = nil,
        metrics: Metrics = .process,
        tracer: Tracer = .off, log: Logger
    ) throws {
        authenticator = Authenticator(pool: pool, lifetime: settings.tokenCache)
        watch = EventWatch(pool: pool, tick: settings.watchTick, metrics: metrics, log: log)
        let gate = Gate(settings, authenticator: authenticator)
        policies = PolicyClient(url: policyURL, log: log)
        let screen = TextScreen(try Screener(screener, log: log), redactor: try Redactor(), pool: pool)
        let reads = FlightGroup(pool)
        let tasks = TaskRoutes(
            pool: pool, reads: reads,
            submits: GroupCommit(pool) {
                try SubmitStore.insert($0, mostWaiting: settings.maxQueuedPerUser, in: $1)
            },
            authenticator: authenticator, gate: gate, settings: settings, policies: policies, screen: screen,
            tracer: tracer)
        let events = EventRoutes(pool: pool, watch: watch, settings: settings)
        let passwords = try PasswordWork(
            atOnce: settings.passwordsAtOnce, cost: settings.passwordCost, metrics: metrics, log: log)
        let logins = LoginRoutes(
            pool: pool, authenticator: authenticator, gate: gate, work: passwords, settings: settings,
            metrics: metrics)
        logWatch = LogWatch(pool: pool, tick: settings.watchTick, log: log)
        let steering = Steering(pool: pool, screen: screen)
        // One statement each: a long sum of arrays takes the compiler minutes.
        var all = tasks.endpoints + events.endpoints
        all +=
            TraceRoutes(pool: pool, store: artifacts, links: SignedLinks(pool: pool), publicURL: publicURL).endpoints
        all += RetryRoutes(pool: pool) { try tasks.submit($0, retryOf: $1) }.endpoints
        all += NudgeRoutes(steering: steering).endpoints
        all += AskRoutes(steering: steering).endpoints
        all += QuestionRoutes(steering: steering).endpoints
        all += ApprovalRoutes(steering: steering).endpoints
        all += RepoRoutes(pool: pool, policies: policies).endpoints
        all += PolicyRoutes(pool: pool, policies: policies).endpoints
        all += GrantRoutes(pool: pool).endpoints
        all += logins.endpoints
        all +=
            OncePasswordRoutes(pool: pool, authenticator: authenticator, work: passwords, settings: settings)
            .endpoints
        all += UserRoutes(pool: pool, authenticator: authenticator).endpoints
        all += TokenRoutes(pool: pool, authenticator: authenticator).endpoints
        all += LogRoutes(pool: pool, watch: logWatch, settings: settings).endpoints
        all += TopRoutes(pool: pool, settings: settings).endpoints
        all += RepoCheckRoutes(pool: pool).endpoints
        all += DoctorRoutes(pool: pool).endpoints
        all += PauseRoutes(pool: pool).endpoints
        all += DeadLetterRoutes(pool: pool).endpoints
        all += AuditRoutes(pool: pool, log: log).endpoints
        endpoints = all + [Description.endpoint(for: all)]
        server = try Server(
            config, gate.router(endpoints), name: "rest api", log: log, onAccess: Access.recorder(metrics))
    }
}
