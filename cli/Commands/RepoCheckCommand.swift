import Domain
import HTTPTypes

/// `bgagent repo check`, and what `repo add` does of its own: asks for a check and waits for what an orchestrator finds.
package enum RepoCheckCommand {
    private static let patience: Duration = .seconds(10)
    private static let pause: Duration = .milliseconds(300)

    package enum Answer: Sendable {
        case answered(JSONValue)
        /// Nobody answered in time.
        case pending
        /// This gateway knows of no checks.
        case unknown
    }

    @Sendable package static func check(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let repo = try Submission.repository(try invocation.required("OWNER/NAME"))
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        switch try await ask(repo, client, surroundings.pace) {
        case .answered(let answer):
            if invocation.wantsJSON {
                console.print(answer.encoded(pretty: true))
            } else {
                for line in lines(answer, style: console.style) { console.print(line) }
            }
            return answer.text("state") == "passed" ? .success : .failure
        case .pending, .unknown:
            let missed = unanswered(repo)
            throw UserError(missed.detail, missed.remedy)
        }
    }

    /// Asks, then looks until the answer is there.
    package static func ask(_ repo: RepoName, _ client: APIClient, _ pace: Pace) async throws -> Answer {
        let path = "/repos/\(Percent.encode(repo.owner))/\(Percent.encode(repo.name))/check"
        let deadline = pace.uptime() + patience
        var answer: JSONValue
        do {
            answer = try await client.call("POST", path, isRepeatable: true).data
        } catch let error as APIError where error.code == "NOT_FOUND" || error.code == "METHOD_NOT_ALLOWED" {
            return .unknown
        }
        while answer.text("state") != "passed", answer.text("state") != "failed" {
            guard pace.uptime() < deadline else { return .pending }
            try await pace.pause(pause)
            answer = try await client.call("GET", path).data
        }
        return .answered(answer)
    }

    package static func unanswered(_ repo: RepoName) -> Check {
        .failed(
            "repository", "\(repo) was not checked within 10 s",
            remedy: "Is the orchestrator running? bgagent doctor tells; then: bgagent repo check \(repo)")
    }

    package static func lines(_ answer: JSONValue, style: Style) -> [String] {
        (answer.member("checks")?.array ?? []).flatMap { check -> [String] in
            let isOK = check.member("ok")?.bool == true
            let line =
                style.paint(isOK ? "ok  " : "FAIL", isOK ? .green : .red) + "  "
                + Text.pad(Text.visible(check.text("name") ?? "–"), to: 14) + "  "
                + Text.visible(check.text("detail") ?? "")
            guard let remedy = check.text("remedy") else { return [line] }
            return [line, "      " + style.paint("→", .cyan) + " " + Text.visible(remedy)]
        }
    }
}
