import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What the whole installation says of itself. It needs nothing but Postgres: services that are away are told as such.
struct DoctorRoutes: Sendable {
    let pool: Pool

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/doctor",
                summary: "What every process says of itself, and what to mend (administrators)",
                answers: [(200, .doctor)], refusals: [403], handle: doctor)
        ]
    }

    @Sendable private func doctor(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        try call.principal().require(.diagnose)
        let diagnosis = try pool.withConnection { connection in
            Diagnosis(
                try ReportStore.all(in: connection), facts: try DoctorStore.facts(in: connection),
                repoChecks: try RepoCheckStore.all(in: connection))
        }
        return .response(Answer.data { $0.diagnosis(diagnosis) })
    }
}

extension JSONWriter {
    mutating func diagnosis(_ diagnosis: Diagnosis) {
        object { writer in
            writer.member("ok", diagnosis.isOK)
            writer.member("version", Release.version)
            writer.member("schema", diagnosis.facts.schema)
            writer.name("failures")
            writer.array { writer in
                for failure in diagnosis.failures {
                    writer.object { writer in
                        writer.member("service", failure.service)
                        writer.member("instance", failure.instance)
                        writer.member("check", failure.check)
                        writer.member("detail", failure.detail)
                        writer.member("remedy", failure.remedy)
                    }
                }
            }
            writer.name("services")
            writer.array { writer in
                for service in diagnosis.services { writer.service(service) }
            }
        }
    }

    private mutating func service(_ service: Diagnosis.ServiceState) {
        object { writer in
            writer.member("service", service.name)
            writer.member("required", service.isRequired)
            writer.member("state", service.state.rawValue)
            writer.name("instances")
            writer.array { writer in
                for seen in service.instances {
                    writer.object { writer in
                        writer.member("instance", seen.report.instance)
                        writer.member("version", seen.report.version)
                        writer.member("schema", seen.report.schema)
                        writer.member("silent", seen.isSilent)
                        writer.member("seen_age_s", Int(seen.seenSeconds))
                        writer.member("uptime_s", Int(max(seen.startedSeconds - seen.seenSeconds, 0)))
                        writer.checks(seen.report.checks)
                    }
                }
            }
        }
    }

    mutating func checks(_ checks: [Check]) {
        name("checks")
        array { writer in
            for check in checks {
                writer.object { writer in
                    writer.member("name", check.name)
                    writer.member("ok", check.ok)
                    writer.member("detail", check.detail)
                    writer.member("remedy", check.remedy)
                }
            }
        }
    }
}
