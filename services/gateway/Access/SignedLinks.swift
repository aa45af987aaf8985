import Crypto
import Domain
import Postgres
import Store
import Threads

/// Links that open one thing for a while, for whoever has them: no token is in them, and none is asked for.
///
/// The key is the same for all replicas and outlives them.
struct SignedLinks: Sendable {
    static let lifetimeSeconds: Int64 = 900

    private let pool: Pool
    private let known = Lock<[UInt8]?>(nil)

    init(pool: Pool) { self.pool = pool }

    /// The query of a link to `path`, good from now on for 15 minutes, and when it ends.
    func sign(_ path: String, now: Timestamp = .now) throws -> (query: String, expiresAt: Timestamp) {
        let expires = now.microseconds / 1_000_000 + Self.lifetimeSeconds
        let signature = try signature(path, expires)
        return (
            "expires=\(expires)&signature=\(signature)", Timestamp(microseconds: expires * 1_000_000)
        )
    }

    /// Throws 403 when the link was not made here, or is over.
    func check(_ path: String, expires: String?, signature: String?, now: Timestamp = .now) throws {
        guard let text = expires, let end = Int64(text), let given = signature,
            constantTimeEquals(given, try self.signature(path, end))
        else { throw APIError(403, "LINK_INVALID", "this link was not made here; ask for a new one") }
        guard now.microseconds < end * 1_000_000 else {
            throw APIError(403, "LINK_EXPIRED", "this link was good for 15 minutes; ask for a new one")
        }
    }

    private func signature(_ path: String, _ expires: Int64) throws -> String {
        Hex.encode(try HMAC.sha256("\(path)\n\(expires)".utf8, key: try key()))
    }

    private func key() throws -> [UInt8] {
        if let key = known.withLock({ $0 }) { return key }
        let key = try pool.withConnection { try SigningKeyStore.key(for: "links", in: $0) }
        known.withLock { $0 = key }
        return key
    }
}
