import AMQP
import Domain
import Glibc
import Lifecycle
import Messaging
import Postgres
import Telemetry

/// One process of the spine, for tests that kill and freeze it: `SpineWorker consume|relay`.
///
/// The environment names it (SPINE_NAME) and the servers (SPINE_POSTGRES_URL, SPINE_AMQP_URL). Timeouts are scaled
/// down, so that a frozen process is noticed in seconds, unless SPINE_TIMING is `product`. With SPINE_HANDLER `slow` the
/// work takes time and fails now and then.
@main
struct SpineWorker {
    static func main() async throws {
        guard let mode = CommandLine.arguments.dropFirst().first, let name = variable("SPINE_NAME"),
            let database = variable("SPINE_POSTGRES_URL"), let broker = variable("SPINE_AMQP_URL")
        else { exit(2) }
        let isScaled = variable("SPINE_TIMING") != "product"
        let log = Logger(service: name, level: .info)
        let readiness = Readiness()
        let postgres = try PostgresConfig(url: database, applicationName: name)
        let pool = Pool(postgres, log: log)
        var timing = AdvisoryLock.Timing()
        if isScaled {
            timing.ping = .milliseconds(400)
            timing.sessionTimeout = .milliseconds(2500)
        }
        let lock = try AdvisoryLock(postgres, timing: timing, log: log)
        let amqp = try AMQPConfig(url: broker)
        let service: any Service
        switch mode {
        case "consume":
            var settings = ConsumerSettings()
            settings.replayEvery = .milliseconds(50)
            settings.retry.base = .milliseconds(20)
            if isScaled {
                settings.lookEvery = .milliseconds(200)
                settings.memberLease = .milliseconds(1500)
            }
            let handler = EffectHandler(worker: name, isSlow: variable("SPINE_HANDLER") == "slow")
            service = OrderedConsumer(
                .commands, handler, pool: pool, amqp: amqp, replayLock: lock, settings: settings,
                readiness: readiness, log: log)
        case "relay":
            service = OutboxRelay(pool: pool, amqp: amqp, lock: lock, readiness: readiness, log: log)
        default:
            exit(2)
        }
        await ServiceGroup([pool, service], readiness: readiness, log: log).runAndExit()
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }
}
