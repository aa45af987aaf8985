import AMQP
import Config
import Messaging
import Postgres
import Store
import Telemetry

/// `bgagent-migrate after-restore`: what has to happen once between a restored database and the first service.
struct AfterRestore: Sendable {
    /// A service that runs would work on the very rows that are put right.
    struct ServicesRun: Error, CustomStringConvertible {
        let names: [String]
        var description: String {
            "services are connected: \(names.joined(separator: ", ")). Stop all of them, then try again."
        }
    }

    let migration: MigrationRun

    @discardableResult
    func run() async throws -> RestoreStore.Summary {
        let (config, log) = (migration.config, migration.log)
        try await migration.run()
        let postgres = try PostgresConfig(
            url: config.service.postgresURL.revealed, applicationName: "bgagent-migrate",
            lockTimeout: .seconds(60), statementTimeout: .seconds(600))
        let pool = Pool(postgres, size: 1, log: log)
        let running = try await pool.run { try RestoreStore.connectedServices(in: $0) }
        guard running.isEmpty else {
            await pool.close()
            throw ServicesRun(names: running)
        }
        // First the queues: what is in them may tell of a time that this database has never seen.
        let channels = try await pool.run { try RestoreStore.channels(in: $0) }
        let purged = try await purge(channels)
        let summary = try await pool.run { connection in try connection.transaction { try RestoreStore.goOn(in: $0) } }
        log.info(
            "the restored database can be gone on from",
            [
                "purged": "\(purged)", "attempts": "\(summary.attempts)", "effects": "\(summary.effects)",
                "messages": "\(summary.messages)",
            ])
        await pool.close()
        return summary
    }

    private func purge(_ channels: [String]) async throws -> Int {
        let broker = try await AMQPConnection.open(AMQPConfig(url: migration.config.service.amqpURL.revealed))
        let streams = [TaskStream.commands, TaskStream.events] + channels.map(TaskStream.notifications)
        for stream in streams { try await broker.declare(stream.topology) }
        var purged = 0
        for queue in streams.flatMap(\.queues) + migration.config.backends.map(Exchanges.startQueue) {
            purged += try await broker.purge(queue: queue)
        }
        await broker.close()
        return purged
    }
}
