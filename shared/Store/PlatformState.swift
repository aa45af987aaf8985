import Domain
import Postgres

/// How many there are of something, and how old the oldest is.
package struct Tally: Sendable, Hashable {
    /// What is counted, as label values.
    package let of: [String]
    package let count: Double
    package let oldestSeconds: Double

    package init(of: [String], count: Double = 0, oldestSeconds: Double = 0) {
        self.of = of
        self.count = count
        self.oldestSeconds = oldestSeconds
    }
}

/// The whole platform at one instant, as Postgres knows it: what no single process can tell.
///
/// Everything is counted from small tables or through indexes on what is open, so a look costs the same after a year.
package struct PlatformState: Sendable {
    /// Repositories told by name: those with the most tasks at work.
    package static let reposByName = 20

    /// By status, the final ones left out.
    package let tasks: [Tally]
    /// By `waiting`, `working` and `full`.
    package let users: [Tally]
    package let slotsUsed: Double
    package let repos: [RepoSlots]
    /// By `ready`, `draining` and `silent`.
    package let nodes: [Tally]
    /// Of the nodes that are ready.
    package let places: Double
    /// By state: requested, claimed, running.
    package let sessions: [Tally]
    package let timers: Tally
    package let outbox: Tally
    /// Open effects by channel and state.
    package let effects: [Tally]
    /// Open dead letters by consumer.
    package let deadLetters: [Tally]
    /// By consumer.
    package let parked: [Tally]
    package let database: DatabaseState

    package struct RepoSlots: Sendable, Hashable {
        package let repo: String
        package let used: Double
        /// Nil where the repository sets none.
        package let limit: Double?
    }

    package struct DatabaseState: Sendable {
        package let bytes: Double
        package let connections: Double
        package let maxConnections: Double
        package let oldestTransactionSeconds: Double
    }

    /// Looks once, in one flight.
    ///
    /// - Parameters:
    ///   - userSlots: what admission gives a user who has no limit of their own.
    ///   - nodeSilence: seconds after which a node that was not heard of offers no places. After a day it is forgotten.
    package init(userSlots: Int, nodeSilence: Int, in connection: Connection) throws {
        let found = try connection.pipeline([
            """
            SELECT status AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(status_changed_at))::float8 AS oldest
            FROM tasks WHERE NOT is_final(status) GROUP BY status
            """,
            """
            SELECT (SELECT count(DISTINCT user_id) FROM tasks WHERE status IN ('SUBMITTED', 'QUEUED'))::float8 AS waiting,
                count(*) FILTER (WHERE c.running > 0)::float8 AS working,
                count(*) FILTER (WHERE c.running >= coalesce(u.max_concurrent, \(Int32(userSlots))))::float8 AS full_up,
                coalesce(sum(c.running), 0)::float8 AS slots
            FROM user_concurrency c JOIN users u USING (user_id)
            """,
            """
            SELECT k.repo, k.running::float8 AS used, r.max_concurrent::float8 AS top
            FROM repo_concurrency k JOIN repos r USING (repo)
            WHERE k.running > 0 ORDER BY k.running DESC, k.repo LIMIT \(Int32(PlatformState.reposByName))
            """,
            """
            SELECT CASE WHEN last_seen <= clock_timestamp() - make_interval(secs => \(Double(nodeSilence))) THEN 'silent'
                WHEN draining THEN 'draining' ELSE 'ready' END AS of, count(*)::float8 AS count, sum(capacity)::float8 AS places
            FROM compute_nodes WHERE last_seen > clock_timestamp() - interval '1 day' GROUP BY 1
            """,
            """
            SELECT state AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(requested_at))::float8 AS oldest
            FROM sessions WHERE state = 'requested' OR state IN ('claimed', 'running') GROUP BY state
            """,
            """
            SELECT 'timers' AS of, count(*)::float8 AS count,
                greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float8 AS oldest FROM timers
            """,
            """
            SELECT 'outbox' AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest FROM outbox
            """,
            """
            SELECT channel || '/' || state AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(planned_at))::float8 AS oldest
            FROM effects WHERE state IN ('planned', 'sending', 'unknown') GROUP BY channel, state
            """,
            """
            SELECT consumer AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest
            FROM dead_letters WHERE state = 'open' GROUP BY consumer
            """,
            """
            SELECT consumer AS of, count(*)::float8 AS count,
                extract(epoch FROM clock_timestamp() - min(parked_at))::float8 AS oldest
            FROM parked_messages GROUP BY consumer
            """,
            """
            SELECT pg_database_size(current_database())::float8 AS bytes, count(*)::float8 AS connections,
                current_setting('max_connections')::float8 AS top,
                coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS oldest
            FROM pg_stat_activity WHERE datname = current_database()
            """,
            "SELECT name FROM channels ORDER BY name",
        ])
        let channels = try found[11].map { try $0.get("name", as: String.self) }
        let consumers = ["fanout", "orchestrator"] + channels.map { "dispatch.\($0)" }
        let people = try found[1].only()
        let facts = try found[10].only()
        tasks = PlatformState.complete(
            try PlatformState.tallies(found[0]), TaskStatus.allCases.filter { !$0.isFinal }.map { [$0.rawValue] })
        users = try [("waiting", "waiting"), ("working", "working"), ("full", "full_up")].map {
            Tally(of: [$0.0], count: try people.get($0.1, as: Double.self))
        }
        slotsUsed = try people.get("slots", as: Double.self)
        repos = try found[2].map { row in
            RepoSlots(
                repo: try row.get("repo", as: String.self), used: try row.get("used", as: Double.self),
                limit: try row.get("top", as: Double?.self))
        }
        let nodeRows = try found[3].map { row in
            (
                tally: Tally(of: [try row.get("of", as: String.self)], count: try row.get("count", as: Double.self)),
                places: try row.get("places", as: Double.self)
            )
        }
        nodes = PlatformState.complete(nodeRows.map(\.tally), [["ready"], ["draining"], ["silent"]])
        places = nodeRows.first { $0.tally.of == ["ready"] }?.places ?? 0
        sessions = PlatformState.complete(
            try PlatformState.tallies(found[4]), [["requested"], ["claimed"], ["running"]])
        timers = try PlatformState.tallies(found[5]).first ?? Tally(of: ["timers"])
        outbox = try PlatformState.tallies(found[6]).first ?? Tally(of: ["outbox"])
        effects = PlatformState.complete(
            try PlatformState.tallies(found[7]),
            (channels + ["forge"]).flatMap { channel in ["planned", "sending", "unknown"].map { [channel, $0] } })
        deadLetters = PlatformState.complete(try PlatformState.tallies(found[8]), consumers.map { [$0] })
        parked = PlatformState.complete(try PlatformState.tallies(found[9]), consumers.map { [$0] })
        database = DatabaseState(
            bytes: try facts.get("bytes", as: Double.self), connections: try facts.get("connections", as: Double.self),
            maxConnections: try facts.get("top", as: Double.self),
            oldestTransactionSeconds: try facts.get("oldest", as: Double.self))
    }

    private static func tallies(_ rows: Rows) throws -> [Tally] {
        try rows.map { row in
            Tally(
                of: try row.get("of", as: String.self).split(separator: "/", omittingEmptySubsequences: false)
                    .map(String.init),
                count: try row.get("count", as: Double.self),
                oldestSeconds: try row.get("oldest", as: Double?.self) ?? 0)
        }
    }

    /// What is known to exist is there at 0, so that "none" can be told from "nobody looked".
    private static func complete(_ found: [Tally], _ known: [[String]]) -> [Tally] {
        let seen = Set(found.map(\.of))
        return found + known.filter { !seen.contains($0) }.map { Tally(of: $0) }
    }
}

/// Pushes of agents by verdict. The hook that decides a push is a process of its own that nobody scrapes, so they are
/// counted from the rows that it leaves.
package struct PushCursor: Sendable {
    /// Rows of this many milliseconds may still be about to commit.
    private static let settle: Int64 = 5_000
    private var until: Int64?

    package init() {}

    /// What was pushed since the last look, by verdict. The first look only takes its place.
    package mutating func advance(in connection: Connection) throws -> [(verdict: String, count: Int64)] {
        let now = try connection.query("SELECT now_ms() AS ms").only().get("ms", as: Int64.self) - PushCursor.settle
        guard let from = until else {
            until = now
            return []
        }
        let rows = try connection.query(
            """
            SELECT verdict, count(*) AS count FROM git_pushes
            WHERE push_id >= ulid_time(\(from)) AND push_id < ulid_time(\(now)) GROUP BY verdict
            """)
        let found = try rows.map {
            (verdict: try $0.get("verdict", as: String.self), count: try $0.get("count", as: Int64.self))
        }
        until = max(from, now)
        return found
    }
}
