import Domain
import HTTPServer
import HTTPTypes
import Patterns
import Postgres
import Screening
import Store
import Threads

/// Lets people's words through to an agent, or says why not. An administrator may let a text through all the same, which
/// the audit log is told.
struct TextScreen: Sendable {
    /// The header with which an administrator overrides a finding.
    static let header = "X-Screening-Override"

    private let screener: Screener
    private let pool: Pool
    private let redactor: Redactor
    private let threads = IOThreads(name: "screen", count: 4)

    init(_ screener: Screener, redactor: Redactor, pool: Pool) {
        self.screener = screener
        self.redactor = redactor
        self.pool = pool
    }

    /// Whether a text is judged outside too, which takes longer than a handler should hold a connection.
    var asksOutside: Bool { screener.asksOutside }

    /// A text without secrets, as it may be stored.
    func redacted(_ text: String) -> String { redactor.redact(text) }

    /// Throws 400 for a text that an agent must not read, and 503 when nobody can say. Blocks while the endpoint is asked.
    ///
    /// - Parameters:
    ///   - source: what the text is, as `nudge`.
    ///   - subject: what the audit log names when it is let through.
    func require(
        _ text: String, from source: String, on subject: String, by caller: Principal, _ request: Request
    ) throws {
        let finding: ScreeningFinding?
        do {
            finding = try screener.screen(text, from: source)
        } catch {
            throw APIError(
                503, "SCREENER_UNAVAILABLE", "\(error); nothing was stored, try again in a moment",
                headers: ["Retry-After": "5"])
        }
        guard let finding else { return }
        guard ["1", "true"].contains(request.headers[Self.header]) else {
            throw APIError(
                400, "SCREENING_BLOCKED",
                "the \(source) holds \(finding.says) (rule '\(finding.rule)', version \(screener.version)); say it "
                    + "differently, or have an administrator let it through")
        }
        guard caller.role == .admin else {
            throw APIError.forbidden("only an administrator may let through what the screener found")
        }
        let detail: JSONValue = [
            "source": .string(source), "rule": .string(finding.rule), "version": JSONValue(screener.version),
        ]
        try pool.withTransaction {
            try AuditStore.record("screening.override", on: subject, by: caller.userID, detail, in: $0)
        }
    }

    /// The same from where nothing may block: the rules take no longer than a reader of the text would, so only what they
    /// find, and what the endpoint is asked, goes to a thread of its own.
    func requireLater(
        _ text: String, from source: String, on subject: String, by caller: Principal, _ request: Request
    ) async throws {
        if !asksOutside, try screener.screen(text, from: source) == nil { return }
        try await threads.run { try require(text, from: source, on: subject, by: caller, request) }
    }
}
