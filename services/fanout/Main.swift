import Config
import Messaging
import Postgres
import Runtime
import Telemetry

@main
struct Fanout {
    static func main() async throws {
        let config = Environment.load(FanoutConfig.init)
        let runtime = try ServiceRuntime(config.service)
        let handler = EventHandler(
            directory: ChannelDirectory(pool: runtime.pool), platform: config.notifications,
            timeline: TimelineTelling(tracer: runtime.tracer, pool: runtime.pool, log: runtime.log))
        await runtime.runAndExit([try runtime.consumer(.events, handler)])
    }
}
