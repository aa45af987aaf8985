import Domain
import Postgres

/// What a process says of itself.
package struct ServiceReport: Sendable, Hashable {
    package let service: String
    /// Host and process id: told apart from other replicas, the same over a restart in a container.
    package let instance: String
    package let version: String
    /// The schema that the process was built for.
    package let schema: Int
    package let everySeconds: Double
    package let checks: [Check]

    package init(
        service: String, instance: String, version: String, schema: Int, everySeconds: Double, checks: [Check]
    ) {
        self.service = service
        self.instance = instance
        self.version = version
        self.schema = schema
        self.everySeconds = everySeconds
        self.checks = checks
    }
}

/// A report as read: with its age on the database's clock.
package struct SeenReport: Sendable, Hashable {
    package let report: ServiceReport
    /// Seconds since the process was last heard of.
    package let seenSeconds: Double
    /// Seconds since it started.
    package let startedSeconds: Double

    package init(report: ServiceReport, seenSeconds: Double, startedSeconds: Double) {
        self.report = report
        self.seenSeconds = seenSeconds
        self.startedSeconds = startedSeconds
    }

    /// Not heard of for three of its own intervals.
    package var isSilent: Bool { seenSeconds > 3 * report.everySeconds }
}

/// The self-reports of all processes.
package enum ReportStore {
    /// Writes the row of a process and forgets rows of a day ago.
    ///
    /// - Parameter uptime: seconds since the process started; the moment is told on the database's clock.
    package static func write(_ report: ServiceReport, uptime: Double, in connection: Connection) throws {
        let checks = try JSONText.encode(report.checks)
        try connection.pipeline([
            """
            INSERT INTO service_reports (service, instance, version, schema, started_at, every_s, checks)
            VALUES (\(report.service), \(report.instance), \(report.version), \(Int32(report.schema)),
                clock_timestamp() - make_interval(secs => \(uptime)), \(report.everySeconds), \(checks)::jsonb)
            ON CONFLICT (service, instance) DO UPDATE SET version = excluded.version, schema = excluded.schema,
                started_at = excluded.started_at, seen_at = clock_timestamp(), every_s = excluded.every_s,
                checks = excluded.checks
            """,
            "DELETE FROM service_reports WHERE seen_at < clock_timestamp() - interval '1 day'",
        ])
    }

    /// A process that stops in order takes its row along: what is silent then did not.
    package static func remove(_ service: String, instance: String, in connection: Connection) throws {
        try connection.query(
            "DELETE FROM service_reports WHERE service = \(service) AND instance = \(instance)")
    }

    package static func all(in connection: Connection) throws -> [SeenReport] {
        try connection.query(
            """
            SELECT service, instance, version, schema, every_s, checks::text AS checks,
                greatest(extract(epoch FROM clock_timestamp() - seen_at), 0)::float8 AS seen_s,
                extract(epoch FROM clock_timestamp() - started_at)::float8 AS started_s
            FROM service_reports ORDER BY service, started_at, instance
            """
        ).map { row in
            SeenReport(
                report: ServiceReport(
                    service: try row.get("service", as: String.self),
                    instance: try row.get("instance", as: String.self),
                    version: try row.get("version", as: String.self), schema: try row.get("schema", as: Int.self),
                    everySeconds: try row.get("every_s", as: Double.self),
                    checks: try JSONText.decode([Check].self, try row.get("checks", as: String.self))),
                seenSeconds: try row.get("seen_s", as: Double.self),
                startedSeconds: try row.get("started_s", as: Double.self))
        }
    }

    /// The database's clock, in seconds since 1970.
    package static func clock(in connection: Connection) throws -> Double {
        try connection.query("SELECT extract(epoch FROM clock_timestamp())::float8 AS now").only()
            .get("now", as: Double.self)
    }
}
