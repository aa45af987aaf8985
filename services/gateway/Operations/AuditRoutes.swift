import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry

/// Whether the audit log is what was written.
struct AuditRoutes: Sendable {
    let pool: Pool
    let log: Logger

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/audit/verification",
                summary: "Whether every entry of the audit log follows from the one before it",
                answers: [(200, .auditVerification)], refusals: [403], query: { _ = Self.seal(&$0) }, handle: verify)
        ]
    }

    private static func seal(_ query: inout QueryReader) -> String? {
        query.value(
            "seal", ["type": "string", "pattern": "^[0-9a-f]{64}$"], "a head that was told before: is it still there?",
            "must be 64 hex digits"
        ) { text in
            text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
                ? text : nil
        }
    }

    @Sendable private func verify(_ call: Call) throws -> Reply {
        try call.principal().require(.diagnose)
        let seal = try call.query(Self.seal)
        return Answer.later(call.request, within: .seconds(60), log: log) { [pool] in
            let found = try await pool.transaction { try AuditStore.verify(seal: seal, in: $0) }
            return Answer.data { writer in
                writer.object { writer in
                    writer.member("ok", found.breach == nil && found.hasSeal)
                    writer.member("has_seal", found.hasSeal)
                    writer.member("entries", found.entries)
                    writer.member("breach", found.breach)
                    writer.member("head", found.head)
                }
            }
        }
    }
}
