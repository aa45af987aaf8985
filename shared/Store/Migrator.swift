import Crypto
import Domain
import Postgres

/// The schema as forward-only SQL files, embedded in the binary.
package struct Migration: Sendable {
    package let version: Int
    package let name: String
    package let sql: String
    /// SHA-256 of the text, in hex. Throws when the cryptographic library cannot work.
    package func checksum() throws -> String { try SHA256.hex(Array(sql.utf8)) }

    /// All migrations, oldest first. A file that was applied somewhere never changes again.
    package static let all: [Migration] = [
        Migration(1, "core", PackageResources.v0001_core_sql),
        Migration(2, "functions", PackageResources.v0002_functions_sql),
        Migration(3, "runs", PackageResources.v0003_runs_sql),
        Migration(4, "model_calls", PackageResources.v0004_model_calls_sql),
        Migration(5, "audit", PackageResources.v0005_audit_sql),
        Migration(6, "members", PackageResources.v0006_members_sql),
        Migration(7, "accounts", PackageResources.v0007_accounts_sql),
        Migration(8, "diagnosis", PackageResources.v0008_operations_sql),
        Migration(11, "operations", PackageResources.v0011_operations_sql),
        Migration(12, "steering", PackageResources.v0012_steering_sql),
        Migration(13, "fewer_trips", PackageResources.v0013_fewer_trips_sql),
        Migration(14, "people_in_charge", PackageResources.v0014_people_in_charge_sql),
        Migration(15, "trajectories", PackageResources.v0015_trajectories_sql),
        Migration(16, "submits_together", PackageResources.v0016_submits_together_sql),
        Migration(17, "lanes_alone", PackageResources.v0017_lanes_alone_sql),
        Migration(18, "milestone_details", PackageResources.v0018_milestone_details_sql),
    ]

    private init(_ version: Int, _ name: String, _ bytes: [UInt8]) {
        self.version = version
        self.name = name
        self.sql = String(decoding: bytes, as: UTF8.self)
    }
}

/// Why a schema cannot be used.
package enum SchemaError: Error, Sendable, CustomStringConvertible {
    case tooOld(found: Int, needed: Int)
    case changed(version: Int)

    package var description: String {
        switch self {
        case .tooOld(let found, let needed):
            "the database has schema \(found), this program needs \(needed): run bgagent-migrate"
        case .changed(let version):
            "migration \(version) was applied with another content: this database belongs to another build"
        }
    }
}

/// Applies what is missing, one transaction each, under an advisory lock: many may start at once, one works.
package struct Migrator {
    private static let lockKey: Int64 = 0x6267_6167_656e_7401

    /// Brings the schema up to date and returns the versions applied now. A crash leaves whole migrations behind.
    package static func run(on connection: Connection) throws -> [Int] {
        try connection.query("SELECT pg_advisory_lock(\(lockKey))")
        defer { _ = try? connection.query("SELECT pg_advisory_unlock(\(lockKey))") }
        try connection.execute(
            script: """
                CREATE TABLE IF NOT EXISTS schema_migrations (
                    version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
                    applied_at timestamptz NOT NULL DEFAULT now())
                """)
        var applied: [Int] = []
        for migration in Migration.all {
            let rows = try connection.query(
                "SELECT checksum FROM schema_migrations WHERE version = \(Int64(migration.version))")
            if let row = rows.first {
                guard try row.get("checksum", as: String.self) == migration.checksum() else {
                    throw SchemaError.changed(version: migration.version)
                }
                continue
            }
            let checksum = try migration.checksum()
            try connection.transaction { tx in
                try tx.execute(script: migration.sql)
                try tx.query(
                    """
                    INSERT INTO schema_migrations (version, name, checksum)
                    VALUES (\(Int64(migration.version)), \(migration.name), \(checksum))
                    """)
            }
            applied.append(migration.version)
        }
        return applied
    }

    /// Throws unless the database is at least at this build's schema. A newer one is fine: changes expand first.
    package static func requireCurrent(on connection: Connection) throws {
        let needed = Migration.all.last?.version ?? 0
        let exists = try connection.query("SELECT to_regclass('schema_migrations') IS NOT NULL AS found")
        guard let row = exists.first, try row.get("found", as: Bool.self) else {
            throw SchemaError.tooOld(found: 0, needed: needed)
        }
        let rows = try connection.query("SELECT coalesce(max(version), 0)::bigint AS version FROM schema_migrations")
        let found = try rows.first.map { try $0.get("version", as: Int64.self) } ?? 0
        guard found >= Int64(needed) else { throw SchemaError.tooOld(found: Int(found), needed: needed) }
    }
}
