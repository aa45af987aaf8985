import Domain
import Testing

@testable import CLI

@Suite struct AccountVerbTests {
    private func server() throws -> ScriptedServer {
        try ScriptedServer { request in
            switch (request.method, request.path) {
            case ("GET", "/v1/me"): .json(200, #"{"data":{"user_id":"u1","name":"ada","role":"admin"}}"#)
            case ("GET", "/v1/users"), ("GET", "/v1/users/u1/tokens"), ("GET", "/v1/repos"):
                .json(
                    200,
                    #"{"data":[{"user_id":"u1","token_id":"t1","repo":"a/b","name":"ada","max_budget_usd":"2.5"}]}"#)
            case ("POST", "/v1/users/u2/password"):
                .json(
                    200,
                    #"{"data":{"user_id":"u2","name":"bob","password":"once-only","expires_at":"2026-03-04T12:00:00Z"}}"#
                )
            case ("POST", "/v1/users/u1/tokens"), ("POST", "/v1/users/u%2F1/tokens"):
                .json(201, #"{"data":{"token_id":"t1","token":"fresh-token"}}"#)
            case ("DELETE", _): .json(200, #"{"data":{}}"#)
            default: .json(200, #"{"data":{"user_id":"u2","repo":"acme/shop","name":"bob","model":null}}"#)
            }
        }
    }

    @Test func `a new token stands alone on stdout`() async throws {
        let server = try server()
        let outcome = await Session(server).run("token", "add", "--name", "laptop", "--expires-in", "30d")
        #expect(outcome.code == .success)
        #expect(outcome.output == "fresh-token\n")
        #expect(outcome.errors.contains("only time the token is shown"))
        #expect(server.requests.last?.body == #"{"expires_in_s":2592000,"name":"laptop"}"#)
        _ = await Session(server).run("token", "add", "u/1")
        #expect(server.requests.last?.path == "/v1/users/u%2F1/tokens")
    }

    @Test func `users are made, listed, shown, changed, closed and opened`() async throws {
        let server = try server()
        let session = Session(server)
        let added = await session.run(
            "user", "add", "bob", "--email", "bob@example.org", "--role", "viewer", "--max-concurrent", "2")
        #expect(added.output.contains("once-only"))
        #expect(added.errors.contains("only time the password is shown"))
        #expect(added.errors.contains("bgagent login bob"))
        #expect(added.errors.contains("bgagent token add u2 --name NAME"))
        #expect(
            server.requests.dropLast().last?.body
                == #"{"email":"bob@example.org","max_concurrent":2,"name":"bob","role":"viewer"}"#)
        let count = server.requests.count
        let bare = await session.run("user", "add", "bob", "--no-password", "-o", "json")
        #expect(server.requests.count == count + 1)
        #expect(!bare.output.contains("one_time_password"))
        #expect(await session.run("user", "list").lines[0] == "USER  ROLE  PASSWORD  CLOSED  NAME  EMAIL")
        #expect(await session.run("user", "show", "bob").output.contains("u2"))
        #expect(server.requests.last?.path == "/v1/users/bob")
        _ = await session.run("user", "set", "u2", "--role", "member")
        #expect(server.requests.last?.method == "PATCH")
        #expect(server.requests.last?.body == #"{"role":"member"}"#)
        #expect(await session.run("user", "set", "u2").errors.contains("nothing to change"))
        let given = await session.run("user", "password", "u2")
        #expect(given.output == "once-only\n")
        #expect(given.errors.contains("until 2026-03-04T12:00:00Z"))
        #expect(await session.run("user", "disable", "u2").code == .success)
        #expect(server.requests.last?.method == "DELETE")
        #expect(await session.run("user", "enable", "u2").code == .success)
        #expect(server.requests.last?.body == #"{"disabled":false}"#)
        #expect(await session.run("token", "list").output.contains("t1"))
        #expect(await session.run("token", "revoke", "t1").code == .success)
        #expect(server.requests.last?.path == "/v1/tokens/t1")
    }

    @Test func `a repository's settings become its body`() async throws {
        let server = try server()
        let session = Session(server)
        let outcome = await session.run(
            "repo", "add", "acme/shop", "--model", "m", "--max-turns", "5", "--max-budget", "2", "--max-duration", "1h",
            "--test-command", "make test", "--allow-ci-changes", "no", "--max-concurrent", "2", "--notify",
            "slack=#builds", "--notify-events", "slack=default,agent_milestone", "--notify", "email=off")
        #expect(outcome.code == .success, "\(outcome.errors)")
        let added = try #require(server.requests.first { $0.method == "POST" && $0.path == "/v1/repos" })
        let body = try JSONValue(parsing: Array(added.body.utf8))
        #expect(
            body == [
                "repo": "acme/shop", "model": "m", "max_turns": 5, "max_budget_usd": 2, "max_duration_s": 3600,
                "test_command": "make test", "allow_ci_changes": false, "max_concurrent": 2,
                "notifications": [
                    "slack": ["enabled": true, "channel": "#builds", "events": ["default", "agent_milestone"]],
                    "email": ["enabled": false],
                ],
            ])
        #expect(outcome.lines[0] == "Repository acme/shop takes tasks now.")
    }

    @Test func `grants are given, listed and taken away`() async throws {
        let server = try ScriptedServer { request in
            request.method == "GET"
                ? .json(200, #"{"data":[{"repo":"acme/shop","user_id":"u1","user_name":"ada","level":"read"}]}"#)
                : .json(200, #"{"data":{"repo":"acme/shop","user_id":"u1","user_name":"ada","level":"steer"}}"#)
        }
        let session = Session(server)
        #expect(
            await session.run("repo", "grant", "acme/shop", "ada", "steer").output == "ada has 'steer' on acme/shop.\n")
        #expect(server.requests.last?.method == "PUT")
        #expect(server.requests.last?.path == "/v1/repos/acme/shop/grants/ada")
        #expect(server.requests.last?.body == #"{"level":"steer"}"#)
        let listed = await session.run("repo", "grants", "acme/shop")
        #expect(listed.lines[0] == "USER  LEVEL  NAME")
        #expect(listed.output.contains("ada"))
        #expect(await session.run("repo", "revoke", "acme/shop", "ada").code == .success)
        #expect(server.requests.last?.method == "DELETE")
        _ = await session.run("repo", "set", "acme/shop", "--access", "restricted")
        #expect(server.requests.last?.body == #"{"access":"restricted"}"#)
    }

    @Test func `settings are changed and unset one by one`() async throws {
        let server = try server()
        let session = Session(server)
        _ = await session.run(
            "repo", "set", "acme/shop", "--max-turns", "9", "--unset", "model", "--unset", "max-budget")
        #expect(server.requests.last?.method == "PATCH")
        #expect(server.requests.last?.path == "/v1/repos/acme/shop")
        #expect(server.requests.last?.body == #"{"max_budget_usd":null,"max_turns":9,"model":null}"#)
        let count = server.requests.count
        #expect(await session.run("repo", "set", "acme/shop").errors.contains("nothing to change"))
        #expect(await session.run("repo", "set", "a/b", "--unset", "modl").errors.contains("Did you mean 'model'?"))
        #expect(await session.run("repo", "set", "a/b", "--unset", "model", "--model", "x").code == .failure)
        #expect(await session.run("repo", "set", "a/b", "--notify", "slack").code == .failure)
        #expect(server.requests.count == count)
        #expect(await session.run("repo", "list").output.contains("$2.50"))
        #expect(await session.run("repo", "remove", "acme/shop").code == .success)
    }

    @Test func `an onboarding whose answer was lost is not sent twice`() async throws {
        let server = try ScriptedServer { _ in .lost }
        let outcome = await Session(server).run("repo", "add", "acme/shop")
        #expect(outcome.code == .failure)
        #expect(server.requests.count == 1)
        #expect(outcome.errors.contains("The request may have arrived."))
    }
}
