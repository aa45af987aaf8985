import Domain
import HTTPTypes

/// The gateway's REST API: adds the token, unwraps the envelope, and tries again what may pass on another try.
package struct APIClient: Sendable {
    /// Patience of a single command: long enough for a restart of the gateway.
    package static let briefPatience: Duration = .seconds(15)
    /// Patience while following a task: an update of the whole installation passes.
    package static let longPatience: Duration = .seconds(900)

    package let account: Account
    private let transport: Transport
    private let pace: Pace
    private let console: Console
    private let patience: Duration
    private let isVerbose: Bool

    package init(
        account: Account, transport: Transport, pace: Pace, console: Console, patience: Duration, isVerbose: Bool
    ) {
        self.account = account
        self.transport = transport
        self.pace = pace
        self.console = console
        self.patience = patience
        self.isVerbose = isVerbose
    }

    /// What came back: the envelope's `data`, and for lists its `pagination`.
    package struct Answer: Sendable {
        package let status: Int
        package let headers: Headers
        package let data: JSONValue
        package let pagination: JSONValue
    }

    /// Makes a call until there is an answer that stands.
    /// - Parameters:
    ///   - path: below `/v1`, its parts already encoded.
    ///   - isRepeatable: nil takes it from the method: all but POST.
    ///   - timeout: of one try.
    ///   - patience: of all tries together, counted from the first failure; nil takes the client's.
    /// - Throws: ``APIError`` for a refusal, ``TransportError`` when no answer came within the patience.
    package func call(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil,
        headers: Headers = [], isRepeatable: Bool? = nil, timeout: Duration = .seconds(30),
        patience: Duration? = nil
    ) async throws -> Answer {
        var headers = headers
        // A login has none yet.
        if !account.token.isEmpty { headers["Authorization"] = "Bearer \(account.token)" }
        headers["Accept"] = "application/json"
        headers["User-Agent"] = "bgagent/\(Help.version)"
        if body != nil { headers["Content-Type"] = "application/json" }
        let search = query.isEmpty ? "" : "?" + Percent.encodeQuery(query)
        let call = Call(
            method: method, url: "\(account.apiURL)/v1\(path)\(search)", headers: headers,
            body: body.map { Array($0.encoded().utf8) } ?? [], timeout: timeout,
            caFile: account.caFile)
        let plan = RetryPlan(isRepeatable: isRepeatable ?? (method != "POST"), patience: patience ?? self.patience)
        return try unwrap(try await attempt(call, plan))
    }

    /// What a link that the gateway gave opens, whole. The link is the leave: no token goes with it.
    /// - Parameter link: absolute, or relative to the gateway.
    package func download(_ link: String, timeout: Duration = .seconds(300)) async throws -> [UInt8] {
        let call = Call(
            method: "GET", url: link.hasPrefix("/") ? account.apiURL + link : link,
            headers: ["User-Agent": "bgagent/\(Help.version)"], body: [], timeout: timeout, caFile: account.caFile)
        return try await attempt(call, RetryPlan(isRepeatable: true, patience: patience)).body
    }

    private func attempt(_ call: Call, _ plan: RetryPlan) async throws -> Response {
        var firstFailure: Duration?
        var tries = 0
        var mayHaveArrived = false
        while true {
            let failure: RetryPlan.Failure
            let refusal: any Error
            tries += 1
            do {
                let response = try await traced(call)
                if (200..<300).contains(response.status) {
                    if tries > 1 { console.note("The gateway answers again.") }
                    return response
                }
                let told = APIError(response, followsLostAnswer: mayHaveArrived)
                guard !RetryPlan.isFinal(told.code) else { throw told }
                let seconds = response.headers["Retry-After"].flatMap { Int($0) }
                failure = .status(response.status, retryAfter: seconds)
                refusal = told
                if [502, 504].contains(response.status) { mayHaveArrived = true }
            } catch let error as TransportError {
                if case .lost = error { mayHaveArrived = true }
                failure = .transport(error)
                refusal = error
            }
            let started = firstFailure ?? pace.uptime()
            firstFailure = started
            let delay = plan.delay(
                after: failure, tries: tries, elapsed: pace.uptime() - started, random: .random(in: 0...1))
            guard let delay else { throw refusal }
            if tries == 1 || delay > .seconds(6) { report(refusal, delay) }
            try await pace.pause(delay)
        }
    }

    /// Tells that a try failed, once per outage, and that the next one comes by itself.
    private func report(_ error: any Error, _ delay: Duration) {
        let reason =
            switch error {
            case let error as APIError: error.line
            case let error as TransportError: "\(account.apiURL) does not answer: \(Text.visible(error.reason))"
            default: "the call failed"
            }
        let wait = delay < .seconds(2) ? "" : " in \(Moment.length(seconds: Int(delay.components.seconds)))"
        console.note("\(reason); trying again\(wait) (Ctrl-C stops)")
    }

    private func unwrap(_ response: Response) throws -> Answer {
        if response.body.isEmpty {
            return Answer(status: response.status, headers: response.headers, data: .null, pagination: .null)
        }
        guard let envelope = try? JSONValue(parsing: response.body), let data = envelope["data"] else {
            throw APIError(response)
        }
        return Answer(
            status: response.status, headers: response.headers, data: data,
            pagination: envelope["pagination"] ?? .null)
    }

    /// Sends once; with `--verbose` tells on stderr what went out and came back, never the token or a body.
    private func traced(_ call: Call) async throws -> Response {
        guard isVerbose else { return try await transport.send(call) }
        console.note("> \(call.method) \(Text.visible(call.url))")
        let start = pace.uptime()
        do {
            let response = try await transport.send(call)
            let spent = (pace.uptime() - start) / Duration.milliseconds(1)
            let request = response.headers["X-Request-Id"].map { " request \($0)" } ?? ""
            console.note("< \(response.status) in \(Int(spent)) ms\(Text.visible(request))")
            return response
        } catch {
            if let error = error as? TransportError { console.note("< \(Text.visible(error.reason))") }
            throw error
        }
    }
}
