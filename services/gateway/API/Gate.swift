import Crypto
import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What stands before every endpoint: a name for the request, the limits, and who asks.
struct Gate: Sendable {
    private let authenticator: Authenticator
    private let addresses: RateLimiter
    private let users: RateLimiter
    private let proxies: [AddressRange]
    private let loginAddresses: RateLimiter
    private let guesses: LoginGuard
    private let ids = ULIDSource()

    init(_ settings: GatewaySettings, authenticator: Authenticator) {
        self.authenticator = authenticator
        addresses = RateLimiter(perSecond: Double(settings.addressRate) / 300, burst: Double(settings.addressRate))
        users = RateLimiter(perSecond: settings.userRate, burst: settings.userBurst)
        proxies = settings.trustedProxies.compactMap { AddressRange($0) }
        loginAddresses = RateLimiter(perSecond: Double(settings.loginRate) / 60, burst: Double(settings.loginRate))
        guesses = LoginGuard(perMinute: settings.loginRate)
    }

    /// The router of these endpoints under the contract's errors.
    func router(_ endpoints: [Endpoint]) -> Router {
        var router = Router(failure: Answer.failure)
        router.admit = { request in
            request.id = requestID(request)
            guard let seconds = addresses.take(ClientAddress.network(client(request))) else { return nil }
            return Answer.error(.limited("too many requests from this address", retryAfter: seconds), request)
        }
        router.finish = { response, request in response.headers["X-Request-Id"] = request.id }
        for endpoint in endpoints {
            router.on(endpoint.method, endpoint.pattern) { request in
                try endpoint.handle(Call(request: request, caller: try caller(request, endpoint.access)))
            }
        }
        return router
    }

    /// Counts a request of this user; throws 429 when there are too many.
    func count(_ principal: Principal) throws {
        guard let seconds = users.take(principal.userID.rawValue) else { return }
        throw APIError.limited("too many requests of yours", retryAfter: seconds)
    }

    private func caller(_ request: Request, _ access: Endpoint.Access) throws -> Principal? {
        switch access {
        case .open: return nil
        case .userByHandler:
            // Without a token there is no need to look at anything else.
            _ = try authenticator.tokenHash(request)
            return nil
        case .user:
            let principal = try authenticator.principal(request)
            try count(principal)
            return principal
        }
    }

    // MARK: - Logins

    /// Counts an attempt to log in. Nil: go on; otherwise the whole seconds to wait.
    func loginWait(_ name: String, _ request: Request) -> Int? {
        loginAddresses.take(ClientAddress.network(client(request))) ?? guesses.begin(name)
    }

    /// Counts an attempt to show one's password once more, like an attempt to log in.
    func passwordWait(_ name: String) -> Int? { guesses.begin(name) }

    /// Returns how many attempts were refused before it.
    @discardableResult
    func loginSucceeded(_ name: String) -> Int { guesses.succeeded(name) }

    /// Returns how many there were by now, when the audit log is to hear of it.
    func loginRefused(_ name: String, isKnown: Bool) -> Int? { guesses.refused(name, isKnown: isKnown) }

    // MARK: - Addresses

    /// The client's own address: behind a proxy that is trusted, the last one it names that is no such proxy itself.
    func client(_ request: Request) -> String {
        guard isProxy(request.remoteAddress) else { return request.remoteAddress }
        let hops = request.headers.values(of: "X-Forwarded-For").flatMap { $0.split(separator: ",") }
            .map { ClientAddress.withoutPort(String($0.filter { $0 != " " })) }
        return String((hops.last { !$0.isEmpty && !isProxy($0) } ?? request.remoteAddress).prefix(64))
    }

    private func isProxy(_ address: String) -> Bool { proxies.contains { $0.contains(address) } }

    /// The client's id when it is a ULID, else a new one.
    private func requestID(_ request: Request) -> String {
        if let given = request.headers["X-Request-Id"], let id = EventID(rawValue: given) { return id.rawValue }
        return ids.next(milliseconds: Timestamp.now.microseconds / 1000)
    }
}
