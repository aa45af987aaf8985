import Domain
import HTTPClient
import HTTPTypes
import Telemetry

/// Asks the policy service, which reads rules and knows no repository. Whatever it cannot say is no permission.
struct PolicyClient: Sendable {
    /// For the whole of one question; the service answers in milliseconds.
    static let patience = Duration.seconds(5)

    /// `http://host:port`; nil = there is none here.
    private let url: String?
    private let http: HTTPClient
    let log: Logger

    init(url: String?, log: Logger) {
        self.url = url
        self.log = log
        http = HTTPClient(.init(name: "policy", threads: 2))
    }

    /// Whether the service reads rules. It has no database to tell of itself, so its clients look.
    func look() async -> Check {
        guard let url else { return .passed("policy", "none is set: repositories have no rules of their own") }
        do {
            _ = try await ask("/v1/validate", ["policies": ""], within: .seconds(2))
            return .passed("policy", "\(url) reads rules")
        } catch {
            return .failed(
                "policy", "\(url) does not read rules",
                remedy: "Start policy, whose log says why it stopped, and let the gateway reach BGAGENT_POLICY_URL.")
        }
    }

    /// Throws 422 with every line that is wrong.
    func check(_ policies: String) async throws {
        let result = try await ask("/v1/validate", ["policies": .string(policies)])
        guard result["valid"]?.bool != true else { return }
        let problems = (result["errors"]?.array ?? []).prefix(10).map { finding in
            "line \(finding["line"]?.integer ?? 1): \(finding["message"]?.string ?? "wrong")"
        }
        throw APIError(
            422, "INVALID_POLICY", "the rules cannot be taken: " + problems.joined(separator: "; "))
    }

    /// The scopes in their one form. Throws 400 for what cannot be allowed beforehand.
    func check(scopes: [String], under policies: String) async throws -> [String] {
        let result = try await ask(
            "/v1/validate",
            ["policies": .string(policies), "scopes": .array(scopes.map { .string($0) })])
        return try (result["scopes"]?.array ?? []).map { scope in
            guard scope["valid"]?.bool == true, let text = scope["scope"]?.string else {
                let reason = scope["reason"]?.string ?? "a scope that is none"
                throw APIError.invalid("that cannot be allowed beforehand: \(reason)")
            }
            return text
        }
    }

    /// Asks; the `data` of the answer. Throws 503 when nobody answers, and what the service refuses with its own words.
    func ask(
        _ path: String, _ body: JSONValue, within patience: Duration = PolicyClient.patience
    ) async throws -> JSONValue {
        guard let url else {
            throw APIError(
                503, "POLICY_UNAVAILABLE",
                "this gateway knows no policy service; an administrator sets BGAGENT_POLICY_URL")
        }
        var request = ClientRequest(
            method: "POST", url: url + path, headers: ["Content-Type": "application/json"],
            body: Array(body.text.utf8), timeout: patience, connectTimeout: .seconds(1))
        // It keeps nothing, so the same question may be asked twice.
        request.mayRepeat = true
        let answer: ClientResponse
        do {
            answer = try await http.send(request)
        } catch {
            log.warning("the policy service does not answer", ["error": "\(error)"])
            throw Self.away
        }
        let value = try? JSONText.decode(JSONValue.self, bytes: answer.body)
        if answer.status == 200, let data = value?["data"] { return data }
        guard (400..<500).contains(answer.status), let error = value?["error"],
            let message = error["message"]?.string
        else {
            log.warning("the policy service failed", ["status": answer.status])
            throw Self.away
        }
        throw APIError(answer.status == 422 ? 422 : 400, error["code"]?.string ?? "VALIDATION_ERROR", message)
    }

    private static let away = APIError(
        503, "POLICY_UNAVAILABLE", "the policy service does not answer; try again in a moment",
        headers: ["Retry-After": "2"])
}
