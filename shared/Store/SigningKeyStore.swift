import Crypto
import Postgres

/// Keys that all replicas of a service sign with. They never leave the database but for the service's memory.
package enum SigningKeyStore {
    /// The key for a purpose, made by whoever asks first.
    package static func key(for purpose: String, in connection: Connection) throws -> [UInt8] {
        let select: Query = "SELECT encode(key, 'hex') AS key FROM signing_keys WHERE purpose = \(purpose)"
        if let row = try connection.query(select).first { return try bytes(row) }
        let made = Hex.encode(try Random.bytes(32))
        try connection.query(
            """
            INSERT INTO signing_keys (purpose, key) VALUES (\(purpose), decode(\(made), 'hex'))
            ON CONFLICT (purpose) DO NOTHING
            """)
        return try bytes(try connection.query(select).only())
    }

    private static func bytes(_ row: Row) throws -> [UInt8] {
        guard let key = Hex.decode(try row.get("key", as: String.self)) else { throw StoreError.noRow("signing_keys") }
        return key
    }
}
