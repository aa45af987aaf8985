import AMQP
import Config
import HTTPServer
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry
import Tracing

/// What every service of the platform is made of: settings, log, readiness, pool, broker address, health port.
///
/// `Main` adds its own services and runs; nothing works before the database has this build's schema.
package struct ServiceRuntime: Sendable {
    package let config: ServiceConfig
    package let log: Logger
    package let readiness: Readiness
    package let pool: Pool
    package let postgres: PostgresConfig
    package let tracer: Tracer
    private let health: HealthServer?

    /// Opens no connection yet, but binds the health port.
    ///
    /// - Parameters:
    ///   - lockTimeout: the longest wait of the pool's connections for a lock.
    ///   - statementTimeout: their longest statement.
    package init(
        _ config: ServiceConfig, poolSize: Int = 8, lockTimeout: Duration = .seconds(2),
        statementTimeout: Duration = .seconds(5)
    ) throws {
        self.config = config
        log = config.log
        readiness = Readiness()
        readiness.set("schema", false)
        postgres = try PostgresConfig(
            url: config.postgresURL.revealed, applicationName: "bgagent-\(config.name)", lockTimeout: lockTimeout,
            statementTimeout: statementTimeout, authorities: config.caFile)
        tracer = Tracer(config.tracing, service: config.name, caFile: config.caFile, log: log)
        pool = Pool(postgres, size: poolSize, readiness: readiness, log: log)
        health =
            config.healthPort == 0
            ? nil
            : try HealthServer(host: config.healthHost, port: config.healthPort, readiness: readiness, log: log)
    }

    /// The broker's address. Throws when it cannot be read.
    package func amqp() throws -> AMQPConfig {
        try AMQPConfig(url: config.amqpURL.revealed, authorities: config.caFile)
    }

    /// A session that holds advisory locks for this process.
    package func locks() throws -> AdvisoryLock { try AdvisoryLock(postgres, log: log) }

    /// The ordered consumer of a stream with this process's pool and broker.
    package func consumer(
        _ stream: TaskStream, _ handler: any MessageHandler, settings: ConsumerSettings = ConsumerSettings()
    ) throws -> OrderedConsumer {
        OrderedConsumer(
            stream, handler, pool: pool, amqp: try amqp(), replayLock: try locks(), settings: settings,
            readiness: readiness, log: log)
    }

    /// Runs until SIGTERM or until something cannot be mended, then ends the process.
    package func runAndExit(_ services: [any Service]) async -> Never {
        let gate = SchemaGate(pool: pool, readiness: readiness, log: log)
        let health: [any Service] = self.health.map { [$0] } ?? []
        let gated: [any Service] = services.map { GatedService(service: $0, gate: gate) }
        // Before the pool, so that it stops after all that makes spans.
        let tracing: [any Service] = tracer.service.map { [$0] } ?? []
        await ServiceGroup(health + tracing + [pool, gate] + gated, readiness: readiness, log: log).runAndExit()
    }
}

/// Holds everything back until the database has this build's schema; an older one ends the process.
final class SchemaGate: Service {
    let name = "schema"
    private let check: Task<Void, any Error>

    init(pool: Pool, readiness: Readiness, log: Logger) {
        check = Task {
            try await retrying("read the schema's version", log: log, isFinal: { $0 is SchemaError }) {
                try await pool.run { try Migrator.requireCurrent(on: $0) }
            }
            readiness.set("schema", true)
        }
    }

    func run() async throws {
        try await open()
        await untilCancelled()
    }

    /// Returns when the schema is there. Throws `SchemaError`, or `CancellationError` when the process stops first.
    func open() async throws {
        let check = self.check
        try await withTaskCancellationHandler {
            try await check.value
        } onCancel: {
            check.cancel()
        }
    }
}

/// A service that starts when the gate opens.
struct GatedService: Service {
    let service: any Service
    let gate: SchemaGate
    var name: String { service.name }

    func run() async throws {
        do {
            try await gate.open()
        } catch {
            // The gate itself reports why; here it only means that there is nothing to run.
            if !Task.isCancelled { await untilCancelled() }
            return
        }
        if !Task.isCancelled { try await service.run() }
    }
}
