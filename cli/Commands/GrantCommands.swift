import Domain
import HTTPTypes

/// The verbs about who may do what in a repository.
package enum GrantCommands {
    @Sendable package static func grant(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let (repo, user, level) = (
            try name(invocation), try invocation.required("USER"), try invocation.required("LEVEL")
        )
        let answer = try await surroundings.client(for: invocation).call(
            "PUT", path(repo, user), body: ["level": .string(level)])
        surroundings.console.print(
            invocation.wantsJSON
                ? answer.data.encoded(pretty: true)
                : Text.visible("\(answer.data.text("user_name") ?? user) has '\(level)' on \(repo)."))
        return .success
    }

    @Sendable package static func revoke(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let (repo, user) = (try name(invocation), try invocation.required("USER"))
        let answer = try await surroundings.client(for: invocation).call("DELETE", path(repo, user))
        surroundings.console.print(
            invocation.wantsJSON
                ? answer.data.encoded(pretty: true)
                : Text.visible("\(answer.data.text("user_name") ?? user) has no grant on \(repo) any more."))
        return .success
    }

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let repo = try name(invocation)
        let console = surroundings.console
        let grants = try await Pages.all(path(repo, nil), try surroundings.client(for: invocation))
        if invocation.wantsJSON {
            console.print(JSONValue.array(grants).encoded(pretty: true))
            return .success
        }
        guard !grants.isEmpty else {
            console.note("No grants on \(repo). bgagent repo show \(repo) says whether it is open to every member.")
            return .success
        }
        var table = Table(["USER", "LEVEL", "NAME"], flexible: 2)
        for grant in grants {
            table.add([
                .init(grant.text("user_id") ?? "–"), .init(grant.text("level") ?? "–"),
                .init(grant.text("user_name") ?? "–"),
            ])
        }
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        return .success
    }

    private static func name(_ invocation: Invocation) throws -> RepoName {
        try Submission.repository(try invocation.required("OWNER/NAME"))
    }

    private static func path(_ repo: RepoName, _ user: String?) -> String {
        let grants = "/repos/\(Percent.encode(repo.owner))/\(Percent.encode(repo.name))/grants"
        return user.map { "\(grants)/\(Percent.encode($0))" } ?? grants
    }
}
