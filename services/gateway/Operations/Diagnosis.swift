import Domain
import Store

/// What the reports of all processes say together. Pure.
struct Diagnosis: Sendable {
    /// How a service stands.
    enum State: String, Sendable, CaseIterable {
        case ok
        /// It runs and says that something is wrong.
        case failing
        /// It said something today and not of late.
        case silent
        /// Nothing was heard of it.
        case missing
        /// Nothing was heard of it, and nothing needs it.
        case absent
    }

    struct ServiceState: Sendable {
        let name: String
        let isRequired: Bool
        let state: State
        let instances: [SeenReport]
    }

    /// One thing to mend.
    struct Failure: Sendable, Hashable {
        let service: String
        let instance: String?
        let check: String
        let detail: String
        let remedy: String
    }

    private(set) var services: [ServiceState] = []
    private(set) var failures: [Failure] = []
    let facts: PlatformFacts
    var isOK: Bool { failures.isEmpty }

    /// What an installation consists of. A dispatcher is needed once its channel is registered: then notifications wait
    /// for it. The policy service is not here, having no database to report to: gateways look at it.
    static let required = [
        "gateway", "relay", "orchestrator", "fanout", "compute-adapter", "agent-gateway", "reconciler",
    ]
    static let optional = ["dispatch-slack", "dispatch-github", "dispatch-email"]
    private static let patience = 30.0

    init(_ reports: [SeenReport], facts: PlatformFacts, repoChecks: [RepoCheck]) {
        self.facts = facts
        let byService = Dictionary(grouping: reports, by: \.report.service)
        let known = Self.required + Self.optional + facts.channels.map { "dispatch-\($0)" } + byService.keys.sorted()
        var seen: Set<String> = []
        for name in known where seen.insert(name).inserted { add(name, byService[name] ?? []) }
        addPlatform()
        for check in repoChecks {
            if let failed = check.checks.first(where: { !$0.ok }) {
                note(
                    "repository", check.repo, failed.name, failed.detail,
                    "\(failed.remedy ?? "Mend it.") Then: bgagent repo check \(check.repo)")
            }
        }
    }

    private mutating func add(_ name: String, _ instances: [SeenReport]) {
        let isNeeded = Self.required.contains(name) || facts.channels.contains { "dispatch-\($0)" == name }
        let alive = instances.filter { !$0.isSilent }
        let before = failures.count
        for instance in alive { check(instance) }
        // One that another has followed was killed and started again.
        let newest = alive.map(\.startedSeconds).min() ?? .infinity
        let lost = instances.filter { $0.isSilent && $0.seenSeconds < newest }
        for instance in lost where !alive.isEmpty {
            note(
                name, instance.report.instance, "silent", "not heard of for \(Int(instance.seenSeconds)) s",
                "Restart it if it hangs; if it was killed for good, nothing: it is forgotten after a day.")
        }
        let state: State
        if !alive.isEmpty {
            state = failures.count > before ? .failing : .ok
        } else if let last = instances.min(by: { $0.seenSeconds < $1.seenSeconds }) {
            state = .silent
            note(
                name, last.report.instance, "silent", "not heard of for \(Int(last.seenSeconds)) s",
                "Restart \(name); its log says why it stopped.")
        } else if isNeeded {
            state = .missing
            note(name, nil, "missing", "nothing was heard of it for a day", "Start \(name).")
        } else {
            state = .absent
        }
        services.append(ServiceState(name: name, isRequired: isNeeded, state: state, instances: instances))
    }

    private mutating func check(_ instance: SeenReport) {
        let report = instance.report
        if report.version != Release.version {
            note(
                report.service, report.instance, "version",
                "runs release \(report.version), the gateway \(Release.version)",
                "Update \(report.service) to the gateway's release and restart it.")
        }
        if report.schema > facts.schema {
            note(
                report.service, report.instance, "schema",
                "was built for schema \(report.schema), the database has \(facts.schema)", "Run bgagent-migrate.")
        }
        for check in report.checks where !check.ok {
            note(report.service, report.instance, check.name, check.detail, check.remedy ?? "Look at its log.")
        }
    }

    private static let lettersRemedy =
        "bgagent dlq list and dlq show ID tell why; dlq replay ID does it once more, dlq drop ID gives it up."

    private mutating func addPlatform() {
        let hasAdapter = services.contains { $0.name == "compute-adapter" && [.ok, .failing].contains($0.state) }
        if hasAdapter, facts.liveNodes == 0 {
            note(
                "platform", nil, "compute nodes", "none was heard of in the last 30 s",
                "Look at the compute adapter's log: its passes fail.")
        }
        // The relay tells of it too; this one also speaks where there is no relay.
        let hasRelay = services.contains { $0.name == "relay" && [.ok, .failing].contains($0.state) }
        if !hasRelay, facts.outboxAgeSeconds > Self.patience {
            note(
                "platform", nil, "outbox",
                "\(facts.outboxMessages) messages wait, the oldest for \(Int(facts.outboxAgeSeconds)) s",
                "Start the relay: nothing is published without it.")
        }
        if facts.openDeadLetters > 0 {
            note(
                "platform", nil, "dead letters", "\(facts.openDeadLetters) messages could not be handled",
                Self.lettersRemedy)
        }
        if facts.deadNotifications > 0 {
            note(
                "platform", nil, "notifications", "\(facts.deadNotifications) were given up in the last day",
                Self.lettersRemedy)
        }
    }

    private mutating func note(
        _ service: String, _ instance: String?, _ check: String, _ detail: String, _ remedy: String
    ) {
        failures.append(Failure(service: service, instance: instance, check: check, detail: detail, remedy: remedy))
    }
}
