import Postgres

/// What the database alone can say of the health of the installation.
package struct PlatformFacts: Sendable, Hashable {
    package var schema = 0
    /// Channels that fanout plans for.
    package var channels: [String] = []
    /// Compute nodes that were heard of in the last half minute.
    package var liveNodes = 0
    package var openDeadLetters = 0
    /// Notifications given up in the last day.
    package var deadNotifications = 0
    package var outboxMessages = 0
    package var outboxAgeSeconds = 0.0

    package init() {}
}

/// Reads them, in one flight.
package enum DoctorStore {
    package static func facts(in connection: Connection) throws -> PlatformFacts {
        let row = try connection.query(
            """
            SELECT (SELECT coalesce(max(version), 0) FROM schema_migrations)::bigint AS schema,
                (SELECT coalesce(array_agg(name ORDER BY name), '{}') FROM channels) AS channels,
                (SELECT count(*) FROM compute_nodes WHERE last_seen > clock_timestamp() - interval '30 s') AS nodes,
                (SELECT count(*) FROM dead_letters WHERE state = 'open') AS letters,
                (SELECT count(*) FROM effects WHERE state = 'dead' AND kind = 'notification'
                    AND planned_at > clock_timestamp() - interval '1 day') AS dead,
                (SELECT count(*) FROM outbox) AS messages,
                (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox)
                    AS age_s
            """
        ).only()
        var facts = PlatformFacts()
        facts.schema = try row.get("schema", as: Int.self)
        facts.channels = try row.get("channels", as: [String].self)
        facts.liveNodes = try row.get("nodes", as: Int.self)
        facts.openDeadLetters = try row.get("letters", as: Int.self)
        facts.deadNotifications = try row.get("dead", as: Int.self)
        facts.outboxMessages = try row.get("messages", as: Int.self)
        facts.outboxAgeSeconds = try row.get("age_s", as: Double.self)
        return facts
    }
}
