import Config
import Domain
import HTTPClient
import HTTPTypes
import Telemetry
import Threads

/// Looks at texts before an agent reads them: by rules of our own, and by an endpoint of the operator's where there is
/// one. Fails closed: a text that cannot be judged is not let through.
///
/// The endpoint is asked by `POST` with `{"source", "text"}` and answers 200 with `{"blocked": false}` or
/// `{"blocked": true, "rule", "reason"}`.
package struct Screener: Sendable {
    /// Nobody can say whether the text may pass.
    package struct Unavailable: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// Where the endpoint is.
    package struct Settings: Sendable {
        package var url: String?
        package var token: Secret?
        package var patience: Duration
        package var caFile: String?

        package init(url: String? = nil, token: Secret? = nil, patience: Duration = .seconds(2), caFile: String? = nil)
        {
            self.url = url
            self.token = token
            self.patience = patience
            self.caFile = caFile
        }

        /// Reads what both services that screen are told.
        package init(_ environment: inout Environment, caFile: String?) {
            url = environment.optionalURL(
                "BGAGENT_SCREENER_URL",
                "an endpoint that judges texts before agents read them, beside the built-in rules")
            token = environment.optionalSecret("BGAGENT_SCREENER_TOKEN", "bearer token for that endpoint")
            patience = environment.duration(
                "BGAGENT_SCREENER_TIMEOUT", default: .seconds(2), in: .milliseconds(100) ... .seconds(30),
                "how long the endpoint may take; after that a text is refused as if it were away")
            self.caFile = caFile
        }
    }

    /// Questions to the endpoint at once: each holds a thread of whoever asks.
    private static let most = 4

    private let rules: ScreeningRules
    private let settings: Settings
    private let http: HTTPClient
    private let asking = Lock(0)
    private let log: Logger

    /// Throws when the rules cannot be read.
    package init(_ settings: Settings = Settings(), log: Logger) throws {
        rules = try ScreeningRules()
        self.settings = settings
        self.log = log
        http = HTTPClient(.init(name: "screener", threads: Self.most, caFile: settings.caFile))
    }

    /// Whether an endpoint is asked too.
    package var asksOutside: Bool { settings.url != nil }

    /// Of the built-in rules.
    package var version: Int { rules.version }

    /// What is wrong with a text; nil = it may pass. Blocks, so never on Swift's cooperative pool.
    ///
    /// - Parameter source: where it came from, for the endpoint: `task`, `issue`, `nudge`, `ask`, `answer`, `reason`.
    /// - Throws: `Unavailable`.
    package func screen(_ text: String, from source: String) throws(Unavailable) -> ScreeningFinding? {
        do {
            if let finding = try rules.finding(in: text) { return finding }
        } catch {
            throw Unavailable(description: "the rules cannot get through the text")
        }
        guard let url = settings.url else { return nil }
        return try ask(url, text, source)
    }

    private func ask(_ url: String, _ text: String, _ source: String) throws(Unavailable) -> ScreeningFinding? {
        let isIn = asking.withLock { count in
            guard count < Self.most else { return false }
            count += 1
            return true
        }
        guard isIn else { throw Unavailable(description: "too many texts are being screened") }
        defer { asking.withLock { $0 -= 1 } }
        let body: JSONValue = ["source": .string(source), "text": .string(text)]
        var request = ClientRequest(
            method: "POST", url: url, headers: ["Content-Type": "application/json"], body: Array(body.text.utf8),
            timeout: settings.patience, connectTimeout: settings.patience, maxResponseBytes: 65_536)
        if let token = settings.token { request.headers["Authorization"] = "Bearer \(token.revealed)" }
        request.mayRepeat = true
        do {
            let answer = try http.sendBlocking(request)
            guard answer.status == 200 else { return try refuse("it answered \(answer.status)") }
            let value = try JSONText.decode(JSONValue.self, bytes: answer.body)
            guard let isBlocked = value["blocked"]?.bool else { return try refuse("its answer has no 'blocked'") }
            guard isBlocked else { return nil }
            return ScreeningFinding(
                rule: String((value["rule"]?.string ?? "endpoint").prefix(100)),
                says: String((value["reason"]?.string ?? "the operator's screener refuses it").prefix(500)))
        } catch let error as Unavailable {
            throw error
        } catch {
            return try refuse("\(error)")
        }
    }

    private func refuse(_ why: String) throws(Unavailable) -> ScreeningFinding? {
        log.warning("the screener does not answer", ["error": why])
        throw Unavailable(description: "the screener does not answer")
    }
}
