import Domain
import FoundationEssentials
import HTTPTypes
import Testing

@testable import CLI

@Suite struct LoginVerbTests {
    private let scratch: ScratchFolder
    private var home: String { scratch.path + "/bgagent" }

    init() throws { scratch = try ScratchFolder() }

    /// A gateway where ada's password is `right` and bob's `once`, which must be replaced.
    private static let gateway: @Sendable (ScriptedServer.Request) -> ScriptedServer.Answer = { request in
        let body = (try? JSONValue(parsing: Array(request.body.utf8))) ?? .null
        func refused(_ status: Int, _ code: String) -> ScriptedServer.Answer {
            .json(status, "{\"error\":{\"code\":\"\(code)\",\"message\":\"no\",\"request_id\":\"r1\"}}")
        }
        let session =
            #"{"data":{"token":"short-token","expires_at":"2026-03-02T00:00:00Z","name":"ada","role":"member"}}"#
        let isIn = request.headers["Authorization"] == "Bearer short-token"
        switch request.path {
        case "/v1/login":
            if request.headers["Authorization"] != nil { return refused(400, "VALIDATION_ERROR") }
            switch (body.text("name"), body.text("password"), body.text("new_password")) {
            case ("ada", "right", _), ("bob", "once", .some(_)): return .json(200, session)
            case ("bob", "once", nil): return refused(403, "PASSWORD_CHANGE_REQUIRED")
            default: return refused(401, "LOGIN_REFUSED")
            }
        case "/v1/logout": return isIn ? .json(200, #"{"data":{}}"#) : refused(401, "UNAUTHORIZED")
        case "/v1/me/password":
            return isIn && body.text("password") == "right"
                ? .json(200, session.replacing("short-token", with: "next-token")) : refused(403, "PASSWORD_WRONG")
        default: return isIn ? .json(200, #"{"data":{"user_id":"u1","name":"ada"}}"#) : refused(401, "UNAUTHORIZED")
        }
    }

    private func session(stdin: String? = "", secrets: [String] = [], more: [String: String] = [:]) -> Session {
        Session(environment: ["BGAGENT_CONFIG_DIR": home].merging(more) { $1 }, stdin: stdin, secrets: secrets)
    }

    @Test func `a login is asked for without echo, saved like a token, and forgotten by logout`() async throws {
        let server = try ScriptedServer(Self.gateway)
        let outcome = await session(stdin: nil, secrets: ["right"]).run("login", "ada", "--api-url", server.url)
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(
            outcome.output
                == "Logged in as ada (member) until 2026-03-02T00:00:00Z.\nSaved in profile 'default' for \(server.url) in \(home)\n"
        )
        #expect(!(outcome.output + outcome.errors).contains("right"))
        #expect(scratch.mode("bgagent/credentials.json") == 0o600)
        #expect(try scratch.text("bgagent/credentials.json").contains("short-token"))
        #expect(try !scratch.text("bgagent/credentials.json").contains("right"))
        #expect(await session().run("whoami").output.contains("ada"))
        // The account is remembered, the password is not.
        #expect(await session(stdin: nil, secrets: ["right"]).run("login").code == .success)
        #expect(await session().run("logout").output == "Logged out.\n")
        #expect(try !scratch.text("bgagent/credentials.json").contains("short-token"))
        let after = await session().run("whoami")
        #expect(after.code == .failure)
        #expect(after.errors.contains("bgagent login NAME"))
    }

    @Test func `a password comes from a file or the lines of a pipe`() async throws {
        let server = try ScriptedServer(Self.gateway)
        let file = scratch.path + "/password"
        try Data("right\nmore\n".utf8).write(to: URL(filePath: file))
        let url = ["--api-url", server.url]
        #expect(await session().run(["login", "ada", "--password-file", file] + url).code == .success)
        #expect(await session(stdin: "right\n").run(["login", "ada"] + url).code == .success)
        #expect(await session(stdin: "once\nfresh words here\n").run(["login", "bob"] + url).code == .success)
        #expect(server.requests.last?.body.contains(#""new_password":"fresh words here""#) == true)
        let none = await session().run(["login", "ada"] + url)
        #expect(none.code == .failure)
        #expect(none.errors.contains("--password-file FILE"))
        let missing = await session().run(["login", "ada", "--password-file", file + "x"] + url)
        #expect(missing.errors.contains("cannot read"))
    }

    @Test func `a one-time password is replaced on the way in`() async throws {
        let server = try ScriptedServer(Self.gateway)
        let url = ["login", "bob", "--api-url", server.url]
        let outcome = await session(stdin: nil, secrets: ["once", "three green herons", "three green herons"]).run(url)
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(outcome.errors.contains("Choose your own"))
        let count = server.requests.count
        let differs = await session(stdin: nil, secrets: ["once", "three green herons", "four"]).run(url)
        #expect(differs.code == .failure)
        #expect(differs.errors.contains("differ"))
        #expect(server.requests.count == count + 1)
        let piped = await session(stdin: "once\n").run(url)
        #expect(piped.errors.contains("--new-password-file FILE"))
    }

    @Test func `a refused login saves nothing and says what to do`() async throws {
        let server = try ScriptedServer(Self.gateway)
        let outcome = await session(stdin: "wrong").run("login", "ada", "--api-url", server.url)
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("LOGIN_REFUSED"))
        #expect(outcome.errors.contains("bgagent user password NAME"))
        #expect(scratch.mode("bgagent/credentials.json") == 0)
        #expect(await session(stdin: "x").run("login", "--api-url", server.url).errors.contains("who logs in?"))
        #expect(await session(stdin: "x").run("login", "ada").errors.contains("which gateway?"))
    }

    @Test func `another password keeps the login under its new token`() async throws {
        let server = try ScriptedServer(Self.gateway)
        _ = await session(stdin: "right").run("login", "ada", "--api-url", server.url)
        let wrong = await session(stdin: "wrong\nfour grey herons").run("passwd")
        #expect(wrong.errors.contains("PASSWORD_WRONG"))
        let typed = ["right", "four grey herons", "four grey herons"]
        let outcome = await session(stdin: nil, secrets: typed).run("passwd")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(server.requests.last?.body == #"{"new_password":"four grey herons","password":"right"}"#)
        #expect(try scratch.text("bgagent/credentials.json").contains("next-token"))
    }

    @Test func `a login that ended elsewhere is forgotten here`() async throws {
        let server = try ScriptedServer(Self.gateway)
        _ = await session(stdin: "short-token").run("configure", "--api-url", server.url, "--no-check")
        _ = await session(stdin: "stale-token").run("configure", "--no-check")
        #expect(await session().run("logout").output == "The login had ended already.\n")
        #expect(try !scratch.text("bgagent/credentials.json").contains("stale-token"))
    }

    @Test func `a token of the environment stands above a login, and that is said`() async throws {
        let server = try ScriptedServer(Self.gateway)
        let more = ["BGAGENT_TOKEN": "short-token"]
        let outcome = await session(stdin: "right", more: more).run("login", "ada", "--api-url", server.url)
        #expect(outcome.code == .success)
        #expect(outcome.errors.contains("BGAGENT_TOKEN is set here"))
    }
}
