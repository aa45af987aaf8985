import Domain
import Store
import Testing

@testable import Gateway

@Suite struct DiagnosisTests {
    private static func report(
        _ service: String, instance: String = "h:1", version: String = Release.version, schema: Int = 8,
        seen: Double = 1, started: Double = 100, checks: [Check] = []
    ) -> SeenReport {
        SeenReport(
            report: ServiceReport(
                service: service, instance: instance, version: version, schema: schema, everySeconds: 15,
                checks: checks), seenSeconds: seen, startedSeconds: started)
    }

    private static var facts: PlatformFacts {
        var facts = PlatformFacts()
        facts.schema = 8
        facts.liveNodes = 1
        return facts
    }

    private static func everybody(but missing: String = "") -> [SeenReport] {
        Diagnosis.required.filter { $0 != missing }.map { report($0) }
    }

    private func told(_ diagnosis: Diagnosis) -> [String] {
        diagnosis.failures.map { "\($0.service)/\($0.check)" }
    }

    @Test func `all is well when everybody needed says so`() {
        let diagnosis = Diagnosis(Self.everybody(), facts: Self.facts, repoChecks: [])
        #expect(diagnosis.isOK)
        #expect(diagnosis.services.filter { $0.state == .absent }.map(\.name) == Diagnosis.optional)
    }

    @Test(arguments: Diagnosis.required)
    func `a needed service that is missing or silent is told`(service: String) {
        let missing = Diagnosis(Self.everybody(but: service), facts: Self.facts, repoChecks: [])
        #expect(told(missing) == ["\(service)/missing"])
        #expect(missing.failures[0].remedy == "Start \(service).")
        let silent = Diagnosis(
            Self.everybody(but: service) + [Self.report(service, seen: 46)], facts: Self.facts, repoChecks: [])
        #expect(told(silent) == ["\(service)/silent"])
        #expect(silent.services.first { $0.name == service }?.state == .silent)
    }

    @Test func `a dispatcher is needed once its channel is registered`() {
        var facts = Self.facts
        facts.channels = ["slack", "pager"]
        let diagnosis = Diagnosis(Self.everybody(), facts: facts, repoChecks: [])
        #expect(told(diagnosis) == ["dispatch-slack/missing", "dispatch-pager/missing"])
    }

    @Test func `one that was killed and started again is not told, one of two that hangs is`() {
        let others = Self.everybody(but: "relay")
        let replaced =
            others + [
                Self.report("relay", instance: "h:1", seen: 300, started: 900),
                Self.report("relay", instance: "h:2", seen: 1, started: 299),
            ]
        #expect(Diagnosis(replaced, facts: Self.facts, repoChecks: []).isOK)
        let hung =
            others + [
                Self.report("relay", instance: "h:1", seen: 300, started: 900),
                Self.report("relay", instance: "h:2", seen: 1, started: 900),
            ]
        let diagnosis = Diagnosis(hung, facts: Self.facts, repoChecks: [])
        #expect(told(diagnosis) == ["relay/silent"])
        #expect(diagnosis.failures[0].instance == "h:1")
    }

    @Test func `another release, a schema ahead and a failing check are told with what mends them`() {
        let checks: [Check] = [
            .passed("disk", "5 GB free"), .failed("broker", "is away", remedy: "Start RabbitMQ."),
        ]
        let reports =
            Self.everybody(but: "relay") + [Self.report("relay", version: "0.0.9", schema: 9, checks: checks)]
        let diagnosis = Diagnosis(reports, facts: Self.facts, repoChecks: [])
        #expect(told(diagnosis) == ["relay/version", "relay/schema", "relay/broker"])
        #expect(diagnosis.failures.allSatisfy { !$0.remedy.isEmpty })
        #expect(diagnosis.services.first { $0.name == "relay" }?.state == .failing)
    }

    @Test func `what only the database knows is told too`() {
        var facts = Self.facts
        facts.openDeadLetters = 2
        facts.deadNotifications = 1
        facts.outboxAgeSeconds = 99
        facts.liveNodes = 0
        let diagnosis = Diagnosis(Self.everybody(but: "relay"), facts: facts, repoChecks: [])
        #expect(
            told(diagnosis) == [
                "relay/missing", "platform/compute nodes", "platform/outbox", "platform/dead letters",
                "platform/notifications",
            ])
    }
}
