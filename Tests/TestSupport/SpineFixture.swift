import AMQP
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry
import Testing

/// A ledger with a broker, the whole topology and a relay: for tests of what travels.
package struct SpineFixture: Sendable {
    package let ledger: LedgerFixture
    package let amqpURL: String
    package let amqp: AMQPConfig
    package let readiness = Readiness()

    /// Runs `body` while the relay and `services` run; all are stopped afterwards.
    package static func with<Result: Sendable>(
        channels: [String] = [], _ services: (SpineFixture) async throws -> [any Service],
        isolation: isolated (any Actor)? = #isolation, _ body: (SpineFixture) async throws -> Result
    ) async throws -> Result {
        try await LedgerFixture.with { ledger in
            try await withScratchVhost { amqpURL in
                let amqp = try AMQPConfig(url: amqpURL)
                let spine = SpineFixture(ledger: ledger, amqpURL: amqpURL, amqp: amqp)
                let broker = try await AMQPConnection.open(amqp)
                var topology = Exchanges.platform(backends: [])
                for channel in channels { topology = topology + TaskStream.notifications(channel).topology }
                try await broker.declare(topology)
                await broker.close()
                let relay = OutboxRelay(
                    pool: ledger.pool, amqp: amqp, lock: try spine.locks(), readiness: spine.readiness, log: .silent,
                    metrics: Metrics())
                let running = ([relay] + (try await services(spine))).map { service in
                    Task { try await service.run() }
                }
                do {
                    let readiness = spine.readiness
                    try await eventually("everything is ready") { readiness.isReady }
                    let result = try await body(spine)
                    await stop(running)
                    return result
                } catch {
                    await stop(running)
                    throw error
                }
            }
        }
    }

    /// A session for advisory locks of the test's database.
    package func locks() throws -> AdvisoryLock {
        try AdvisoryLock(try PostgresConfig(url: ledger.url, applicationName: "spine-tests"))
    }

    /// An ordered consumer on the test's broker.
    package func consumer(_ stream: TaskStream, _ handler: any MessageHandler) throws -> OrderedConsumer {
        var settings = ConsumerSettings()
        settings.repairAfter = .milliseconds(200)
        return OrderedConsumer(
            stream, handler, pool: ledger.pool, amqp: amqp, replayLock: try locks(), settings: settings,
            readiness: readiness, log: .silent, metrics: Metrics())
    }

    private static func stop(_ running: [Task<Void, any Error>]) async {
        for task in running.reversed() {
            task.cancel()
            _ = await task.result
        }
    }
}
