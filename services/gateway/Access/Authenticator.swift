import Crypto
import HTTPTypes
import Postgres
import Store
import Threads

/// Whom a request comes from, by its API token or login.
///
/// Good API tokens are remembered for a few seconds, so that a busy client costs no look-up per request; a revocation is
/// felt at once here and within that time in every other gateway. Logins are looked up each time: a logout, another
/// password or a closed account ends them at once everywhere.
final class Authenticator: Sendable {
    private static let prefix = "bga_"
    private static let capacity = 10_000

    private struct Entry {
        let principal: Principal
        let until: MonotonicTime
    }

    private let pool: Pool
    private let lifetime: Duration
    private let known = Lock<[String: Entry]>([:])

    init(pool: Pool, lifetime: Duration) {
        self.pool = pool
        self.lifetime = lifetime
    }

    /// A new token and the hash that is stored of it. 256 random bits.
    static func makeToken() throws -> (token: String, hash: String) {
        let token = prefix + (try Random.token(bytes: 32))
        return (token, try SHA256.hex(token))
    }

    /// The hash of the token that a request bears. Throws 401 when it bears none.
    func tokenHash(_ request: Request) throws -> String {
        guard let header = request.headers["Authorization"], header.utf8.count <= 256 else {
            throw APIError.unauthorized
        }
        let parts = header.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, Headers.sameName(String(parts[0]), "Bearer"), parts[1].hasPrefix(Self.prefix) else {
            throw APIError.unauthorized
        }
        return try SHA256.hex(String(parts[1]))
    }

    /// Who it is. Throws 401 when the token is unknown, revoked, expired, or its account closed.
    func principal(_ request: Request) throws -> Principal {
        let hash = try tokenHash(request)
        let now = MonotonicTime.now
        if let entry = known.withLock({ $0[hash] }), entry.until > now { return entry.principal }
        guard let principal = try pool.withConnection({ try TokenStore.principal(hash: hash, in: $0) }) else {
            throw APIError.unauthorized
        }
        guard lifetime > .zero, principal.session == nil else { return principal }
        known.withLock { known in
            if known.count >= Self.capacity { known = known.filter { $0.value.until > now } }
            if known.count >= Self.capacity { known = [:] }
            known[hash] = Entry(principal: principal, until: now + lifetime)
        }
        return principal
    }

    /// Forgets everybody: an account or a token was changed.
    func forget() {
        known.withLock { $0 = [:] }
    }
}
