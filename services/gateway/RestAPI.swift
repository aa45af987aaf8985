import HTTPServer
import Lifecycle
import Patterns
import Postgres
import Telemetry
import Tracing

/// The whole REST API: every endpoint over one pool, and the server that answers for it.
struct RestAPI: Sendable {
    let endpoints: [Endpoint]
    let server: Server
    let watch: EventWatch
    let logWatch: LogWatch
    let authenticator: Authenticator

    /// Binds the port; nothing is answered until the server runs.
    init(
        _ config: ServerConfig, pool: Pool, settings: GatewaySettings, metrics: Metrics = .process,
        tracer: Tracer = .off, log: Logger
    ) throws {
        authenticator = Authenticator(pool: pool, lifetime: settings.tokenCache)
        watch = EventWatch(pool: pool, tick: settings.watchTick, metrics: metrics, log: log)
        let gate = Gate(settings, authenticator: authenticator)
        let tasks = TaskRoutes(pool: pool, authenticator: authenticator, gate: gate, settings: settings, tracer: tracer)
        let events = EventRoutes(pool: pool, watch: watch, settings: settings)
        let passwords = try PasswordWork(
            atOnce: settings.passwordsAtOnce, cost: settings.passwordCost, metrics: metrics, log: log)
        let logins = LoginRoutes(
            pool: pool, authenticator: authenticator, gate: gate, work: passwords, settings: settings,
            logins: metrics.counter(
                "bgagent_logins_total", "Attempts to log in by what became of them.", labels: ["result"]))
        let accounts =
            logins.endpoints
            + OncePasswordRoutes(pool: pool, authenticator: authenticator, work: passwords, settings: settings)
            .endpoints
            + UserRoutes(pool: pool, authenticator: authenticator).endpoints
            + TokenRoutes(pool: pool, authenticator: authenticator).endpoints
        logWatch = LogWatch(pool: pool, tick: settings.watchTick, log: log)
        let repos = RepoRoutes(pool: pool).endpoints + GrantRoutes(pool: pool).endpoints
        let operations =
            LogRoutes(pool: pool, watch: logWatch, settings: settings).endpoints
            + TopRoutes(pool: pool, settings: settings).endpoints + RepoCheckRoutes(pool: pool).endpoints
            + DoctorRoutes(pool: pool).endpoints + PauseRoutes(pool: pool).endpoints
            + DeadLetterRoutes(pool: pool).endpoints
        let steering = Steering(pool: pool, redactor: try Redactor())
        let conversation =
            NudgeRoutes(steering: steering).endpoints + AskRoutes(steering: steering).endpoints
            + QuestionRoutes(steering: steering).endpoints + ApprovalRoutes(steering: steering).endpoints
        let all = tasks.endpoints + events.endpoints + conversation + repos + accounts + operations
        endpoints = all + [Description.endpoint(for: all)]
        server = try Server(
            config, gate.router(endpoints), name: "rest api", log: log, onAccess: Access.recorder(metrics))
    }
}
