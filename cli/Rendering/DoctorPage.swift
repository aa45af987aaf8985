import Domain

/// What `bgagent doctor` prints: what was looked at, and each thing to mend with what mends it.
package struct DoctorPage: Sendable {
    private let checks: [Check]
    private let platform: JSONValue?

    /// - Parameters:
    ///   - checks: what this machine saw.
    ///   - platform: what the gateway answered; nil when it could not be asked.
    package init(checks: [Check], platform: JSONValue?) {
        self.checks = checks
        self.platform = platform
    }

    package var isOK: Bool { checks.allSatisfy(\.ok) && platform?.member("ok")?.bool != false }

    package var json: JSONValue {
        [
            "ok": .bool(isOK), "checks": .array(checks.map(Self.json)), "platform": platform ?? .null,
        ]
    }

    package func lines(style: Style, width: Int?) -> [String] {
        var lines = checks.map { check in
            style.paint(check.ok ? "ok  " : "FAIL", check.ok ? .green : .red) + "  "
                + Text.pad(check.name, to: 12) + "  " + Text.visible(check.detail)
        }
        lines += services(style: style, width: width)
        let problems = self.problems
        lines.append("")
        guard !problems.isEmpty else {
            lines.append(style.paint(platform == nil ? "What could be looked at is well." : "All is well.", .green))
            return lines
        }
        lines.append(style.paint("\(Amount.count(problems.count, "thing")) to mend:", .bold))
        for problem in problems {
            lines.append(style.paint("✗", .red) + " " + Text.visible("\(problem.place): \(problem.detail)"))
            lines.append("  " + style.paint("→", .cyan) + " " + Text.visible(problem.remedy))
        }
        return lines
    }

    private struct Problem {
        let place: String
        let detail: String
        let remedy: String
    }

    private var problems: [Problem] {
        let own = checks.filter { !$0.ok }.map {
            Problem(place: $0.name, detail: $0.detail, remedy: $0.remedy ?? "Look at the gateway's log.")
        }
        let theirs = (platform?.member("failures")?.array ?? []).map { failure in
            let instance = failure.text("instance").map { " (\($0))" } ?? ""
            return Problem(
                place: "\(failure.text("service") ?? "platform")\(instance), \(failure.text("check") ?? "check")",
                detail: failure.text("detail") ?? "–", remedy: failure.text("remedy") ?? "Look at its log.")
        }
        return own + theirs
    }

    private func services(style: Style, width: Int?) -> [String] {
        guard let services = platform?.member("services")?.array, !services.isEmpty else { return [] }
        var table = Table(["SERVICE", "STATE", "RUNNING", "RELEASE", "CHECKS"], flexible: 4)
        for service in services {
            let state = service.text("state") ?? "–"
            let alive = (service.member("instances")?.array ?? []).filter { $0.member("silent")?.bool != true }
            let checks = alive.flatMap { $0.member("checks")?.array ?? [] }
            let passed = checks.filter { $0.member("ok")?.bool == true }.count
            let releases = Set(alive.compactMap { $0.text("version") }).sorted().joined(separator: ", ")
            table.add([
                .init(service.text("service") ?? "–"), .init(state, Self.colour(state)), .init("\(alive.count)"),
                .init(releases.isEmpty ? "–" : releases), .init(checks.isEmpty ? "–" : "\(passed) of \(checks.count)"),
            ])
        }
        return [""] + table.lines(style: style, width: width)
    }

    private static func colour(_ state: String) -> Style.Colour? {
        switch state {
        case "ok": .green
        case "absent": .dim
        default: .red
        }
    }

    static func json(_ check: Check) -> JSONValue {
        [
            "name": .string(check.name), "ok": .bool(check.ok), "detail": .string(check.detail),
            "remedy": JSONValue(check.remedy),
        ]
    }
}
