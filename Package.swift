// swift-tools-version: 6.1
import PackageDescription

/// One language for the whole house: Swift 6 mode, and a warning fails the build.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-warnings-as-errors"]),
]

/// C libraries of the system, each spoken in exactly one Swift module above it.
let systemLibraries: [Target] = [
    .systemLibrary(
        name: "CPostgres", path: "shared/CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
    .systemLibrary(
        name: "CRabbitMQ", path: "shared/CRabbitMQ", pkgConfig: "librabbitmq", providers: [.apt(["librabbitmq-dev"])]),
    .systemLibrary(
        name: "CCurl", path: "shared/CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(
        name: "CMicroHTTPD", path: "shared/CMicroHTTPD", pkgConfig: "libmicrohttpd",
        providers: [.apt(["libmicrohttpd-dev"])]),
    .systemLibrary(
        name: "COpenSSL", path: "shared/COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
        name: "CPCRE2", path: "shared/CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
]

/// Swift modules, lowest first: a module may name only modules above its own line.
let modules: [(name: String, dependencies: [String])] = [
    ("Domain", []),
    ("Threads", ["CLinux"]),
    ("Telemetry", ["Domain", "Threads"]),
    ("Config", ["Domain", "Threads", "Telemetry"]),
    ("Crypto", ["COpenSSL"]),
    ("Patterns", ["CPCRE2"]),
    ("HTTPTypes", []),
    ("Lifecycle", ["CLinux", "Domain", "Threads", "Telemetry"]),
    ("Postgres", ["CPostgres", "CLinux", "Domain", "Threads", "Telemetry", "Lifecycle"]),
    ("AMQP", ["CRabbitMQ", "CLinux", "Telemetry", "Lifecycle"]),
    ("HTTPServer", ["CMicroHTTPD", "CLinux", "HTTPTypes", "Telemetry", "Lifecycle"]),
    ("HTTPClient", ["CCurl", "HTTPTypes", "Lifecycle"]),
    ("Tracing", ["Domain", "Config", "Threads", "Telemetry", "Lifecycle", "HTTPTypes", "HTTPClient"]),
    ("Forge", ["Domain", "Config", "HTTPTypes", "HTTPClient"]),
    ("Screening", ["Domain", "Config", "Threads", "Patterns", "Telemetry", "HTTPTypes", "HTTPClient"]),
    ("ContainerEngine", ["Domain", "Config", "Threads", "HTTPTypes", "HTTPClient"]),
    ("Artifacts", ["Config"]),
    ("Store", ["Domain", "Config", "Crypto", "Postgres", "Telemetry"]),
    (
        "Messaging",
        ["Domain", "Config", "Threads", "Telemetry", "Crypto", "Lifecycle", "Postgres", "AMQP", "Store"]
    ),
    (
        "Runtime",
        [
            "Domain", "Config", "Threads", "Telemetry", "Patterns", "Lifecycle", "Postgres", "AMQP", "HTTPServer",
            "Tracing", "Store", "Messaging",
        ]
    ),
    (
        "Notifications",
        [
            "Domain", "Config", "Threads", "Telemetry", "Lifecycle", "Postgres", "AMQP", "HTTPTypes", "HTTPServer",
            "HTTPClient", "Tracing", "Crypto", "Store", "Messaging", "Runtime",
        ]
    ),
]

/// What a service may use. Services never import each other.
let foundation = [
    "Domain", "Config", "Threads", "Telemetry", "Lifecycle", "Postgres", "AMQP", "HTTPTypes", "HTTPServer", "Tracing",
    "Store", "Messaging", "Runtime",
]
let services: [(folder: String, module: String, product: String, dependencies: [String])] = [
    ("migrate", "Migrate", "bgagent-migrate", foundation),
    ("gateway", "Gateway", "gateway", foundation + ["HTTPClient", "Crypto", "Patterns", "Artifacts", "Screening"]),
    ("relay", "Relay", "relay", foundation),
    (
        "orchestrator", "Orchestrator", "orchestrator",
        foundation + ["HTTPClient", "Forge", "Crypto", "Patterns", "Screening"]
    ),
    ("fanout", "Fanout", "fanout", foundation + ["Notifications"]),
    ("compute-adapter", "ComputeAdapter", "compute-adapter", foundation + ["Crypto", "Patterns", "ContainerEngine"]),
    (
        "engine-proxy", "EngineProxy", "engine-proxy",
        [
            "Domain", "Config", "Threads", "Telemetry", "Lifecycle", "HTTPTypes", "HTTPServer", "HTTPClient",
            "ContainerEngine", "Runtime",
        ]
    ),
    (
        "agent-gateway", "AgentGateway", "agent-gateway",
        foundation + ["HTTPClient", "Forge", "Crypto", "Patterns", "Artifacts"]
    ),
    ("reconciler", "Reconciler", "reconciler", foundation),
]

/// A new notification channel adds one line here.
let channels: [(folder: String, module: String)] = [
    ("dispatch-slack", "DispatchSlack"),
    ("dispatch-github", "DispatchGitHub"),
    ("dispatch-email", "DispatchEmail"),
]
let channelDependencies = [
    "Domain", "Config", "Threads", "Telemetry", "Lifecycle", "Postgres", "HTTPTypes", "HTTPClient", "Tracing", "Forge",
    "Crypto", "Store", "Messaging", "Runtime", "Notifications",
]

func named(_ names: [String]) -> [Target.Dependency] {
    names.map { .target(name: $0) }
}

func executable(_ module: String, _ folder: String, _ dependencies: [String]) -> Target {
    .executableTarget(
        name: module, dependencies: named(dependencies), path: folder,
        resources: module == "AgentGateway" ? [.embedInCode("prices.json")] : [], swiftSettings: strict,
        linkerSettings: [.linkedLibrary("m")])
}

/// Files that libraries carry in their code.
let embedded = ["Store": ["migrations"], "Patterns": ["redaction.json"], "Screening": ["screening.json"]]
let libraryTargets: [Target] = modules.map { module in
    .target(
        name: module.name, dependencies: named(module.dependencies), path: "shared/\(module.name)",
        resources: (embedded[module.name] ?? []).map { .embedInCode($0) }, swiftSettings: strict)
}
let serviceTargets: [Target] = services.map { executable($0.module, "services/\($0.folder)", $0.dependencies) }
let channelTargets: [Target] = channels.map { executable($0.module, "services/\($0.folder)", channelDependencies) }
let cliTarget = executable("CLI", "cli", ["Domain", "Threads", "HTTPTypes", "HTTPClient"])

/// Processes that the spine's tests kill and freeze.
let spineWorker = executable(
    "SpineWorker", "Tests/SpineWorker",
    ["Domain", "Threads", "Telemetry", "Lifecycle", "Postgres", "AMQP", "Store", "Messaging"])

let testSupport = Target.target(
    name: "TestSupport",
    dependencies: named([
        "Domain", "Config", "Telemetry", "Lifecycle", "Postgres", "AMQP", "HTTPTypes", "HTTPServer", "HTTPClient",
        "Store", "Messaging", "Notifications", "CLinux", "Threads", "ContainerEngine",
    ]),
    path: "Tests/TestSupport", swiftSettings: strict)

/// Modules of ours that begin as those of C libraries do.
let ownC = ["Config", "Crypto", "ContainerEngine"]

/// Programs that a module's tests start as processes.
let processes = ["Messaging": ["SpineWorker"], "ComputeAdapter": ["EngineProxy"]]

/// One test target per module; its folder is `Tests/<Module>Tests`. The relay is all library: MessagingTests holds it.
let testTargets: [Target] =
    (modules.map { ($0.name, $0.dependencies) }
    + services.filter { $0.module != "Relay" }.map { ($0.module, $0.dependencies) }
    + channels.map { ($0.module, channelDependencies) } + [("CLI", ["Domain", "Threads", "HTTPTypes", "HTTPClient"])])
    .map { module, dependencies in
        let swift = dependencies.filter { !$0.hasPrefix("C") || ownC.contains($0) }
        return .testTarget(
            name: "\(module)Tests", dependencies: named([module, "TestSupport"] + swift + (processes[module] ?? [])),
            path: "Tests/\(module)Tests", exclude: module == "CLI" ? ["Golden"] : [], swiftSettings: strict)
    }

let package = Package(
    name: "bgagent",
    products: services.map { .executable(name: $0.product, targets: [$0.module]) }
        + channels.map { .executable(name: $0.folder, targets: [$0.module]) }
        + [.executable(name: "bgagent", targets: ["CLI"])],
    targets: systemLibraries
        + [.target(name: "CLinux", path: "shared/CLinux")]
        + libraryTargets + serviceTargets + channelTargets + [cliTarget]
        // Images are made without the tests, whose modules their toolchain need not have.
        + (Context.environment["BGAGENT_WITHOUT_TESTS"] == nil ? [spineWorker, testSupport] + testTargets : []),
    swiftLanguageModes: [.v6]
)
