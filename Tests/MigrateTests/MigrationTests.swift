import AMQP
import Config
import Domain
import Messaging
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@testable import Migrate

@Suite struct MigrationTests {
    @Test func `a second and a simultaneous migration change nothing`() async throws {
        try await Self.withServers { url, broker in
            let run = try Self.migration(url, broker)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<3 { group.addTask { try await run.run() } }
                try await group.waitForAll()
            }
            try await run.run()
            let rows = try Self.connection(url).query("SELECT version FROM schema_migrations ORDER BY version")
            #expect(try rows.map { try $0.get("version", as: Int.self) } == Store.Migration.all.map(\.version))
        }
    }

    @Test func `after it every queue of the platform is there`() async throws {
        try await Self.withServers { url, broker in
            try await Self.migration(url, broker).run()
            let connection = try await AMQPConnection.open(AMQPConfig(url: broker))
            for queue in TaskStream.commands.queues + TaskStream.events.queues + [Exchanges.startQueue("process")] {
                let counts = try await connection.passiveDeclare(queue: queue)
                #expect(counts.messages == 0)
            }
            await connection.close()
        }
    }

    @Test func `services refuse an older schema and run on a newer one`() async throws {
        try await withScratchDatabase { url in
            let connection = try Self.connection(url)
            #expect(throws: SchemaError.self) { try Migrator.requireCurrent(on: connection) }
            _ = try Migrator.run(on: connection)
            try Migrator.requireCurrent(on: connection)
            try connection.query("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', '')")
            try Migrator.requireCurrent(on: connection)
            try connection.query("DELETE FROM schema_migrations WHERE version >= 2")
            #expect(throws: SchemaError.self) { try Migrator.requireCurrent(on: connection) }
        }
    }

    @Test func `a migration that was applied with another content is refused`() async throws {
        try await withScratchDatabase { url in
            let connection = try Self.connection(url)
            _ = try Migrator.run(on: connection)
            try connection.query("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
            #expect(throws: SchemaError.self) { try Migrator.run(on: connection) }
        }
    }

    private static func connection(_ url: String) throws -> Connection {
        try Connection(PostgresConfig(url: url, applicationName: "migrate-tests", statementTimeout: .seconds(60)))
    }

    private static func migration(_ url: String, _ broker: String) throws -> MigrationRun {
        let config = try Environment.read(
            MigrateConfig.init, from: Environment(["BGAGENT_POSTGRES_URL": url, "BGAGENT_AMQP_URL": broker]))
        return MigrationRun(config: config, log: .silent)
    }

    private static func withServers(
        _ body: @escaping @Sendable (_ url: String, _ broker: String) async throws -> Void
    ) async throws {
        try await withScratchDatabase { url in
            try await withScratchVhost { broker in try await body(url, broker) }
        }
    }
}
