import HTTPServer
import Lifecycle
import Postgres
import Telemetry
import Tracing

/// The whole REST API: every endpoint over one pool, and the server that answers for it.
struct RestAPI: Sendable {
    let endpoints: [Endpoint]
    let server: Server
    let watch: EventWatch
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
        let accounts =
            UserRoutes(pool: pool, authenticator: authenticator).endpoints
            + TokenRoutes(pool: pool, authenticator: authenticator).endpoints
        let work = tasks.endpoints + events.endpoints + RepoRoutes(pool: pool).endpoints + accounts
        endpoints = work + [Description.endpoint(for: work)]
        server = try Server(
            config, gate.router(endpoints), name: "rest api", log: log, onAccess: Access.recorder(metrics))
    }
}
