import AMQP
import Config
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry
import Tracing

/// What a service with a database is made of: a process's parts, a pool, and the broker's address.
///
/// `Main` adds its own services and runs; nothing works before the database has this build's schema.
package struct ServiceRuntime: Sendable {
    package let config: ServiceConfig
    package let log: Logger
    package let readiness: Readiness
    package let pool: Pool
    package let postgres: PostgresConfig
    /// What this process looks at for `bgagent doctor`; each part adds its own.
    package let checks: CheckList
    package let tracer: Tracer
    /// Keeps the lines about tasks for `bgagent logs`.
    private let taskLines: TaskLogSink
    private let process: ProcessRuntime

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
        checks = CheckList(outsideEvery: config.checkEvery)
        taskLines = TaskLogSink(StandardErrorSink())
        process = try ProcessRuntime(config, sink: taskLines)
        log = process.log
        readiness = process.readiness
        readiness.set("schema", false)
        postgres = try PostgresConfig(
            url: config.postgresURL.revealed, applicationName: "bgagent-\(config.name)", lockTimeout: lockTimeout,
            statementTimeout: statementTimeout, authorities: config.caFile)
        tracer = Tracer(config.tracing, service: config.name, caFile: config.caFile, log: log)
        pool = Pool(postgres, size: poolSize, readiness: readiness, log: log)
        Metrics.process.addRuntime(readiness: readiness, pool: pool)
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
        let gated: [any Service] = (observers + services).map { GatedService(service: $0, gate: gate) }
        // Before the pool, so that it stops after all that makes spans.
        let tracing: [any Service] = tracer.service.map { [$0] } ?? []
        await process.runAndExit(tracing + [pool, gate] + gated)
    }

    /// What tells of this process, on a connection apart from its work. Their own lines go to standard error alone.
    private var observers: [any Service] {
        let own = Pool(postgres, size: 1)
        let log = process.ownLog
        let report = SelfReport(
            service: config.name, every: config.reportEvery, checks: checks, readiness: readiness, pool: own, log: log)
        guard
            let writer = try? TaskLogWriter(
                taskLines, service: config.name, instance: report.instance, pool: own, log: log)
        else { return [report] }
        return [writer, report]
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
