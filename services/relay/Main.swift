import Config
import Messaging
import Runtime

@main
struct Relay {
    static func main() async throws {
        let config = Environment.load { ServiceConfig(&$0, name: "relay") }
        let runtime = try ServiceRuntime(config)
        let relay = OutboxRelay(
            pool: runtime.pool, amqp: try runtime.amqp(), lock: try runtime.locks(), readiness: runtime.readiness,
            log: runtime.log)
        RelayChecks(pool: runtime.pool, broker: BrokerChecks(try runtime.amqp())).add(to: runtime.checks)
        await runtime.runAndExit([relay])
    }
}
