import Postgres

/// Compute nodes and their places.
package enum NodeStore {
    /// Says that a node is there; admission counts its places while it keeps saying so.
    package static func beat(_ node: String, backend: String, capacity: Int, in connection: Connection) throws {
        try connection.query(
            """
            INSERT INTO compute_nodes (node, backend, capacity) VALUES (\(node), \(backend), \(Int32(capacity)))
            ON CONFLICT (node) DO UPDATE SET backend = excluded.backend, capacity = excluded.capacity,
                last_seen = clock_timestamp()
            """)
    }
}
