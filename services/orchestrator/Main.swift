import Config
import Domain
import Forge
import HTTPClient
import Lifecycle
import Messaging
import Postgres
import Runtime
import Screening
import Store
import Telemetry
import Tracing

@main
struct Orchestrator {
    static func main() async throws {
        let config = Environment.load(OrchestratorConfig.init)
        let runtime = try ServiceRuntime(config.service)
        let forges = ForgeAccess(config.forge, http: HTTPClient(.init(caFile: config.service.caFile)))
        let admission = Admission(pool: runtime.pool, settings: config.settings, log: runtime.log)
        let handler = CommandHandler(
            pool: runtime.pool, admission: admission,
            preparation: Preparation(
                pool: runtime.pool, forges: forges,
                screening: IssueScreening(try Screener(config.screener, log: runtime.log)),
                settings: config.settings, tracer: runtime.tracer, log: runtime.log),
            finalization: Finalization(
                pool: runtime.pool, forges: forges, settings: config.settings, tracer: runtime.tracer,
                log: runtime.log),
            settings: config.settings, log: runtime.log)
        runtime.checks.addOutside { await forges.check() }
        let repositories = RepositoryChecks(pool: runtime.pool, forges: forges, log: runtime.log)
        await runtime.runAndExit([
            try runtime.consumer(.commands, handler),
            Periodic("repository checks", every: .seconds(1), log: runtime.log) { try await repositories.runOnce() },
            Periodic("admission", every: .seconds(1), log: runtime.log) { await admission.wake() },
        ])
    }
}
