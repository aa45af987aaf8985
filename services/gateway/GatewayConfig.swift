import Artifacts
import Config
import Crypto
import Domain
import Screening
import Threads

/// The numbers of the gateway's own rules; the defaults are the product's.
struct GatewaySettings: Sendable {
    var model = "claude-sonnet-4-5"
    var maxTurns = 100
    var maxBudget: USD?
    var maxDurationSeconds = 28_800
    var maxAttempts = 2
    /// Tasks of one user at work at once, for the estimate of how long a queued one waits.
    var userSlots = 3
    var maxQueuedPerUser = 100
    /// How long an agent may take to save its work after a cancel.
    var cancelGraceSeconds = 30.0
    var tokenCache: Duration = .seconds(5)
    var userRate = 60.0
    var userBurst = 100.0
    var addressRate = 1000
    /// Attempts to log in a minute, of one address and for one account.
    var loginRate = 5
    var sessionSeconds = 43_200
    var oncePasswordSeconds = 259_200
    /// Passwords that are hashed at once.
    var passwordsAtOnce = 2
    var passwordCost = PasswordHash.Cost()
    var trustedProxies: [String] = []
    var maxWaitSeconds = 25
    /// How often the heads of watched tasks are looked at.
    var watchTick: Duration = .seconds(1)
}

/// What the gateway is told.
struct GatewayConfig: Sendable {
    let service: ServiceConfig
    let host: String
    let port: Int
    let threads: Int
    /// Files of the certificate and its key; nil = plain HTTP.
    let tls: (certificate: String, key: String)?
    let settings: GatewaySettings
    /// Where the policy service is; nil = rules cannot be stored or tried.
    let policyURL: String?
    let screener: Screener.Settings
    let artifacts: DirectoryArtifactStore
    /// How clients reach it; nil = links are relative.
    let publicURL: String?

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "gateway")
        host = environment.string("BGAGENT_GATEWAY_HOST", default: "127.0.0.1", "address of the REST API")
        port = environment.int("BGAGENT_GATEWAY_PORT", default: 8080, in: 0...65535, "port of the REST API")
        threads = environment.int(
            "BGAGENT_GATEWAY_THREADS", default: 8, in: 1...8,
            "threads that answer requests; as many commits share one write to the disk")
        let certificate = environment.optionalPath(
            "BGAGENT_GATEWAY_TLS_CERT", "certificate of the REST API, with its chain, as PEM; not set = plain HTTP")
        let key = environment.optionalPath("BGAGENT_GATEWAY_TLS_KEY", "its private key, as PEM without a password")
        if (certificate == nil) != (key == nil) {
            environment.reject("BGAGENT_GATEWAY_TLS_CERT and BGAGENT_GATEWAY_TLS_KEY go together. Set both or neither.")
        }
        if let certificate { ServiceConfig.checkCertificates(certificate, "BGAGENT_GATEWAY_TLS_CERT", &environment) }
        tls = certificate.flatMap { certificate in key.map { (certificate: certificate, key: $0) } }
        policyURL = environment.optionalURL(
            "BGAGENT_POLICY_URL",
            "the policy service, as http://policy:8082; not set = repositories have no rules of their own")
        screener = Screener.Settings(&environment, caFile: service.caFile)
        artifacts = environment.artifacts(dataDirectory: service.dataDirectory)
        publicURL = environment.optionalURL(
            "BGAGENT_PUBLIC_URL",
            "how clients reach the gateway, for links to it; not set = links are relative to where it was asked"
        ).map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
        var settings = GatewaySettings()
        settings.model = environment.string(
            "BGAGENT_MODEL", default: settings.model, "model of tasks whose repository names none")
        settings.maxTurns = environment.int(
            "BGAGENT_MAX_TURNS", default: settings.maxTurns, in: 1...500, "turns of tasks that name no limit")
        settings.maxBudget = environment.optionalDouble(
            "BGAGENT_MAX_BUDGET_USD", in: 0.01...100, "budget of tasks that name no limit, in dollars"
        ).flatMap { USD(dollars: $0) }
        settings.maxDurationSeconds = environment.int(
            "BGAGENT_MAX_DURATION_SECONDS", default: settings.maxDurationSeconds, in: 1...604_800,
            "working time of tasks that name no limit")
        settings.maxAttempts = environment.int(
            "BGAGENT_MAX_ATTEMPTS", default: settings.maxAttempts, in: 1...10,
            "agents that a task may lose before it fails")
        settings.userSlots = environment.int(
            "BGAGENT_USER_SLOTS", default: settings.userSlots, in: 1...1000, "tasks of one user at work at once")
        settings.maxQueuedPerUser = environment.int(
            "BGAGENT_MAX_QUEUED_PER_USER", default: settings.maxQueuedPerUser, in: 0...1_000_000,
            "waiting tasks of one user; 0 = no limit")
        settings.cancelGraceSeconds = Double(
            environment.int(
                "BGAGENT_CANCEL_GRACE_SECONDS", default: 30, in: 1...600,
                "time for an agent to save its work after a cancel"))
        settings.tokenCache = environment.duration(
            "BGAGENT_TOKEN_CACHE", default: settings.tokenCache, in: .zero ... .seconds(60),
            "how long a good API token is remembered; another gateway's revocation is felt after this")
        settings.userRate = Double(
            environment.int(
                "BGAGENT_RATE_PER_USER", default: 60, in: 0...100_000, "requests of one user a second; 0 = no limit"))
        settings.userBurst = Double(
            environment.int("BGAGENT_RATE_BURST", default: 100, in: 1...100_000, "requests of one user at once"))
        settings.addressRate = environment.int(
            "BGAGENT_RATE_PER_ADDRESS", default: settings.addressRate, in: 0...10_000_000,
            "requests of one address in five minutes; 0 = no limit")
        settings.trustedProxies = environment.list(
            "BGAGENT_TRUSTED_PROXIES", "addresses and networks (10.0.0.0/8) whose X-Forwarded-For is believed")
        for proxy in settings.trustedProxies where AddressRange(proxy) == nil {
            environment.reject("BGAGENT_TRUSTED_PROXIES: '\(proxy)' is neither an address nor a network as 10.0.0.0/8")
        }
        Self.readLogins(&environment, &settings)
        self.settings = settings
    }

    private static func readLogins(_ environment: inout Environment, _ settings: inout GatewaySettings) {
        settings.loginRate = environment.int(
            "BGAGENT_LOGIN_RATE", default: settings.loginRate, in: 0...1000,
            "attempts to log in of one address, and free ones for one account, in a minute; 0 = no limit")
        settings.sessionSeconds = Int(
            environment.duration(
                "BGAGENT_SESSION_LIFETIME", default: .seconds(settings.sessionSeconds),
                in: .seconds(60) ... .seconds(2_592_000), "how long a login with a password is good"
            ).inSeconds)
        settings.oncePasswordSeconds = Int(
            environment.duration(
                "BGAGENT_ONE_TIME_PASSWORD_LIFETIME", default: .seconds(settings.oncePasswordSeconds),
                in: .seconds(60) ... .seconds(2_592_000), "how long a password that an administrator gave is good"
            ).inSeconds)
        settings.passwordsAtOnce = environment.int(
            "BGAGENT_PASSWORDS_AT_ONCE", default: settings.passwordsAtOnce, in: 1...64,
            "passwords that are hashed at once; each takes 32 MB for some 60 ms")
    }
}
