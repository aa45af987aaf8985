import Domain
import Postgres

/// A place where no new work starts.
package struct PauseRecord: Sendable {
    /// A repository, or `*` for everywhere.
    package let scope: String
    package let reason: String?
    package let userID: UserID?
    package let pausedAt: Timestamp

    init(row: Row) throws {
        scope = try row.get("scope", as: String.self)
        reason = try row.get("reason", as: String?.self)
        userID = try row.get("user_id", as: String?.self).flatMap(UserID.init(rawValue:))
        pausedAt = try row.get("paused_at", as: Timestamp.self)
    }
}

/// A compute node as an operator sees it.
package struct NodeRecord: Sendable {
    package let node: String
    package let backend: String
    package let capacity: Int
    package let isDraining: Bool
    package let lastSeen: Timestamp
    /// Sandboxes that it should have running now.
    package let running: Int

    init(row: Row) throws {
        node = try row.get("node", as: String.self)
        backend = try row.get("backend", as: String.self)
        capacity = Int(try row.get("capacity", as: Int32.self))
        isDraining = try row.get("draining", as: Bool.self)
        lastSeen = try row.get("last_seen", as: Timestamp.self)
        running = Int(try row.get("running", as: Int64.self))
    }
}

/// Stops new work, everywhere, for a repository or on a node, and lets it go on. What runs is never touched: tasks wait
/// in the queue and keep their places.
package enum PauseStore {
    /// The scope that means everything.
    package static let everywhere = "*"

    package static func list(in connection: Connection) throws -> [PauseRecord] {
        try connection.query("SELECT scope, reason, user_id, paused_at FROM pauses ORDER BY scope")
            .map(PauseRecord.init(row:))
    }

    /// A repeat keeps the first time and takes the newer reason.
    package static func pause(_ scope: String, reason: String?, by user: UserID, in tx: Connection) throws {
        try tx.query(
            """
            INSERT INTO pauses (scope, reason, user_id) VALUES (\(scope), \(reason), \(user.rawValue))
            ON CONFLICT (scope) DO UPDATE SET reason = coalesce(excluded.reason, pauses.reason)
            """)
    }

    /// False when it was not paused.
    package static func resume(_ scope: String, in tx: Connection) throws -> Bool {
        try tx.query("DELETE FROM pauses WHERE scope = \(scope)").affected == 1
    }

    /// Nodes with their places, by name.
    package static func nodes(in connection: Connection) throws -> [NodeRecord] {
        try connection.query(
            """
            SELECT n.node, n.backend, n.capacity, n.draining, n.last_seen,
                (SELECT count(*) FROM sessions s WHERE s.node = n.node AND s.state IN ('claimed', 'running')) AS running
            FROM compute_nodes n ORDER BY n.node
            """
        ).map(NodeRecord.init(row:))
    }

    /// False when there is no such node.
    package static func drain(_ node: String, _ isDraining: Bool, in tx: Connection) throws -> Bool {
        try tx.query("UPDATE compute_nodes SET draining = \(isDraining) WHERE node = \(node)").affected == 1
    }

    /// Tasks that hold a slot now: what a drain waits for.
    package static func atWork(in connection: Connection) throws -> Int {
        try connection.query(
            """
            SELECT count(*) AS tasks FROM tasks
            WHERE status IN ('HYDRATING', 'RUNNING', 'AWAITING_APPROVAL', 'FINALIZING')
            """
        ).only().get("tasks", as: Int.self)
    }
}
