import Domain
import Postgres

/// A notification channel as its dispatcher registered it. Everything that fanout knows of it.
package struct RegisteredChannel: Sendable, Hashable {
    package var name: String
    /// Event types that `default` stands for.
    package var defaultEvents: Set<String>
    /// Event types that `verbose` adds.
    package var verboseEvents: Set<String>
    /// Where a target comes from, in the channel's own words; see `TargetSchema`.
    package var targetSchema: JSONValue
    /// Whom to tell when nobody names a target.
    package var defaultTarget: String?

    package init(
        name: String, defaultEvents: Set<String>, verboseEvents: Set<String> = [], targetSchema: JSONValue = [:],
        defaultTarget: String? = nil
    ) {
        self.name = name
        self.defaultEvents = defaultEvents
        self.verboseEvents = verboseEvents
        self.targetSchema = targetSchema
        self.defaultTarget = defaultTarget
    }
}

/// The table of channels: a channel exists because its dispatcher wrote its row.
package enum ChannelStore {
    /// Writes the channel's row, or brings it up to date.
    package static func register(_ channel: RegisteredChannel, in connection: Connection) throws {
        try connection.query(
            """
            INSERT INTO channels (name, default_events, verbose_events, target_schema, default_target)
            VALUES (\(channel.name), \(channel.defaultEvents.sorted()), \(channel.verboseEvents.sorted()),
                \(channel.targetSchema.text)::jsonb, \(channel.defaultTarget))
            ON CONFLICT (name) DO UPDATE SET default_events = excluded.default_events,
                verbose_events = excluded.verbose_events, target_schema = excluded.target_schema,
                default_target = excluded.default_target, last_seen = now()
            """)
    }

    /// Notes that the channel's dispatcher lives. For people to see: notifications are planned either way, and wait.
    package static func touch(_ name: String, in connection: Connection) throws {
        try connection.query(
            "UPDATE channels SET last_seen = now() WHERE name = \(name) AND last_seen < now() - interval '10 s'")
    }

    /// Every channel there is, by name.
    package static func all(in connection: Connection) throws -> [RegisteredChannel] {
        try connection.query(
            """
            SELECT name, default_events, verbose_events, target_schema::text, default_target FROM channels
            ORDER BY name
            """
        ).map { row in
            RegisteredChannel(
                name: try row.get("name", as: String.self),
                defaultEvents: Set(try row.get("default_events", as: [String].self)),
                verboseEvents: Set(try row.get("verbose_events", as: [String].self)),
                targetSchema: try row.json("target_schema"),
                defaultTarget: try row.get("default_target", as: String?.self))
        }
    }
}
