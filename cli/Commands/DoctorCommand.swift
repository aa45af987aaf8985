import Domain
import FoundationEssentials
import Glibc
import HTTPTypes

/// `bgagent doctor`: first what this machine can see, then what every process says of itself.
package enum DoctorCommand {
    @Sendable package static func doctor(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        var checks: [Check] = []
        var platform: JSONValue?
        do {
            let account = try Account(invocation, environment: surroundings.environment)
            checks.append(.passed("settings", "profile '\(account.profile)' for \(account.apiURL)"))
            let (own, isAdmitted) = await look(at: account, surroundings)
            checks += own
            if isAdmitted {
                let client = try surroundings.client(for: invocation, patience: .seconds(3))
                if invocation.has("repos") { checks += try await repositories(client, surroundings) }
                let (found, check) = try await ask(client)
                platform = found
                if let check { checks.append(check) }
            }
        } catch let error as UserError {
            checks.append(
                .failed(
                    "settings", error.message, remedy: error.advice ?? "bgagent configure --api-url URL"))
        }
        let page = DoctorPage(checks: checks, platform: platform)
        let console = surroundings.console
        if invocation.wantsJSON {
            console.print(page.json.encoded(pretty: true))
        } else {
            for line in page.lines(style: console.style, width: console.width) { console.print(line) }
        }
        return page.isOK ? .success : .failure
    }

    /// Address, connection, certificate, token and clock, as far as one call shows them.
    private static func look(at account: Account, _ surroundings: Surroundings) async -> ([Check], Bool) {
        let headers: Headers = [
            ("Authorization", "Bearer \(account.token)"), ("Accept", "application/json"),
            ("User-Agent", "bgagent/\(Help.version)"),
        ]
        let call = Call(
            method: "GET", url: "\(account.apiURL)/v1/me", headers: headers, body: [], timeout: .seconds(10))
        let started = surroundings.pace.uptime()
        let response: Response
        do {
            response = try await surroundings.transport.send(call)
        } catch let error as TransportError {
            return ([unreached(error, account)], false)
        } catch {
            return ([.failed("gateway", "\(error)", remedy: "Run it again.")], false)
        }
        let spent = Int((surroundings.pace.uptime() - started) / Duration.milliseconds(1))
        var checks = [Check.passed("gateway", "answers in \(spent) ms")]
        if account.isExposed {
            checks.append(
                .failed(
                    "encryption", "\(account.apiURL) sends your token in the clear",
                    remedy: "Put TLS before the gateway and use its https address."))
        }
        if let clock = clock(response, surroundings) { checks.append(clock) }
        let (token, isAdmitted) = judge(response, account)
        return (checks + [token], isAdmitted)
    }

    private static func unreached(_ error: TransportError, _ account: Account) -> Check {
        let reason = "\(account.apiURL): \(error.reason)"
        return switch error {
        case .unreachable(let text) where text.contains("name is not known"):
            .failed(
                "address", reason, remedy: "Correct the host name, or your DNS: bgagent configure --api-url URL")
        case .unreachable:
            .failed(
                "connection", reason,
                remedy: "Start the gateway, or correct its address: bgagent configure --api-url URL")
        case .lost:
            .failed(
                "connection", reason, remedy: "Look at the gateway's log: it takes connections and does not answer.")
        case .unusable:
            .failed("certificate", reason, remedy: "Make this machine trust the certificate, or correct the address.")
        }
    }

    private static func judge(_ response: Response, _ account: Account) -> (Check, Bool) {
        let body = try? JSONValue(parsing: response.body)
        if response.status == 200, let me = body?.member("data"), let name = me.text("name") {
            return (.passed("token", "you are \(name) (\(me.text("role") ?? "no role"))"), true)
        }
        let error = APIError(response)
        switch error.code {
        case "UNAUTHORIZED":
            return (.failed("token", "the gateway does not accept it", remedy: error.advice(account)), false)
        case "SERVICE_UNAVAILABLE":
            return (
                .failed(
                    "database", "the gateway is there and cannot use its database",
                    remedy: "Start Postgres, or look at the gateway's log for why it is refused."), false
            )
        default: return (.failed("gateway", error.line, remedy: error.advice(account)), false)
        }
    }

    /// Compares this machine's clock with the gateway's.
    private static func clock(_ response: Response, _ surroundings: Surroundings) -> Check? {
        guard let there = response.headers["Date"].flatMap(seconds) else { return nil }
        let skew = Int(surroundings.pace.now().timeIntervalSince1970) - there
        guard abs(skew) > 30 else { return .passed("clock", "within 30 s of the gateway's") }
        return .failed(
            "clock", "\(Moment.length(seconds: abs(skew))) \(skew > 0 ? "ahead of" : "behind") the gateway's",
            remedy: "Synchronise this machine's clock and the gateway's.")
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
    static func seconds(_ date: String) -> Int? {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let words = date.split { $0 == " " || $0 == ":" }.map(String.init)
        guard words.count == 8, words[7] == "GMT", let month = months.firstIndex(of: words[2]),
            let day = Int32(words[1]), let year = Int32(words[3]), let hour = Int32(words[4]),
            let minute = Int32(words[5]), let second = Int32(words[6])
        else { return nil }
        var parts = tm()
        (parts.tm_mday, parts.tm_mon, parts.tm_year) = (day, Int32(month), year - 1900)
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (hour, minute, second)
        return timegm(&parts)
    }

    private static func ask(_ client: APIClient) async throws -> (JSONValue?, Check?) {
        do {
            return (try await client.call("GET", "/doctor").data, nil)
        } catch let error as APIError where error.status == 403 {
            return (nil, .passed("platform", "not looked at: that needs an administrator"))
        } catch let error as APIError {
            return (nil, .failed("platform", error.line, remedy: error.advice(client.account)))
        } catch let error as TransportError {
            return (nil, unreached(error, client.account))
        }
    }

    private static func repositories(_ client: APIClient, _ surroundings: Surroundings) async throws -> [Check] {
        var checks: [Check] = []
        for repo in try await Pages.all("/repos", client).compactMap({ $0.text("repo") }).compactMap(RepoName.init) {
            // What it finds is told by the platform's own answer; here only that it could not be found out.
            switch try await RepoCheckCommand.ask(repo, client, surroundings.pace) {
            case .answered: continue
            case .pending, .unknown: checks.append(RepoCheckCommand.unanswered(repo))
            }
        }
        return checks
    }
}
