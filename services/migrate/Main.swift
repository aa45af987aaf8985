import AMQP
import Config
import Glibc
import Lifecycle
import Messaging
import Postgres
import Runtime
import Store
import Telemetry

@main
struct Migrate {
    static func main() async throws {
        let config = Environment.load(MigrateConfig.init)
        let migration = MigrationRun(config: config, log: try config.service.logger())
        switch CommandLine.arguments.dropFirst().first {
        case nil:
            try await migration.run()
        case "after-restore":
            do {
                try await AfterRestore(migration: migration).run()
            } catch let refused as AfterRestore.ServicesRun {
                migration.log.error("nothing was changed", ["error": refused.description])
                fflush(nil)
                _exit(1)
            }
        case let word?:
            migration.log.error(
                "unknown word", ["word": word, "remedy": "bgagent-migrate, or bgagent-migrate after-restore"])
            fflush(nil)
            _exit(64)
        }
        // Not by returning, which tears libraries down under threads that may still use them.
        fflush(nil)
        _exit(0)
    }
}

/// Brings the database's schema and the broker's topology to this build's, then ends. Safe to run again and at once
/// from many places.
struct MigrationRun: Sendable {
    let config: MigrateConfig
    let log: Logger

    func run() async throws {
        let postgres = try PostgresConfig(
            url: config.service.postgresURL.revealed, applicationName: "bgagent-migrate",
            lockTimeout: .seconds(60), statementTimeout: .seconds(600), authorities: config.service.caFile)
        let pool = Pool(postgres, size: 1, log: log)
        let applied = try await retrying("migrate the database", log: log, isFinal: { $0 is SchemaError }) {
            try await pool.run { try Migrator.run(on: $0) }
        }
        log.info("schema is current", ["applied": applied.map(String.init).joined(separator: ",")])
        let amqp = try AMQPConfig(url: config.service.amqpURL.revealed, authorities: config.service.caFile)
        let backends = config.backends
        try await retrying("declare the topology", log: log, isFinal: { _ in false }) {
            let broker = try await AMQPConnection.open(amqp)
            try await broker.declare(Exchanges.platform(backends: backends))
            await broker.close()
        }
        log.info("topology is declared")
        await pool.close()
    }
}

/// What the migration is told.
struct MigrateConfig: Sendable {
    let service: ServiceConfig
    let backends: [String]

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "migrate")
        backends = environment.list(
            "BGAGENT_COMPUTE_BACKENDS", default: ["process", "container"],
            "compute backends to declare work queues for")
    }
}
