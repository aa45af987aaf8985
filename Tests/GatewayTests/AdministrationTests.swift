import Domain
import HTTPTypes
import Postgres
import Store
import Testing

@testable import Gateway

@Suite struct AdministrationTests {
    // MARK: - Repositories

    @Test func `a repository is onboarded, changed, taken off and brought back`() async throws {
        try await World.with { world async throws in
            let body: JSONValue = [
                "repo": "acme/tools", "model": "m-2", "max_turns": 5, "max_budget_usd": 2.5, "max_duration_s": 3600,
                "max_concurrent": 2, "test_command": "make test", "allow_ci_changes": true, "forge": "github",
                "notifications": ["slack": ["enabled": true, "channel": "#builds"]],
            ]
            let made = try await world.call("POST", "/v1/repos", body: body)
            #expect(made.status == 201)
            for (name, value) in body.object ?? [:] { #expect(made.data[name] == value, "\(name)") }
            let twice = try await world.call("POST", "/v1/repos", body: body)
            #expect(twice.status == 409)
            #expect(twice.code == "REPO_ALREADY_EXISTS")
            let changed = try await world.call(
                "PATCH", "/v1/repos/acme/tools",
                body: [
                    "model": .null, "max_turns": 7, "max_budget_usd": .null, "allow_ci_changes": .null,
                    "notifications": .null,
                ])
            #expect(changed.data["model"] == .null)
            #expect(changed.data["max_turns"] == 7)
            #expect(changed.data["max_budget_usd"] == .null)
            #expect(changed.data["allow_ci_changes"] == false)
            #expect(changed.data["notifications"] == [:])
            #expect(changed.data["test_command"] == "make test")
            #expect(try await world.get("/v1/repos/acme/tools").data == changed.data)
            let removed = try await world.call("DELETE", "/v1/repos/acme/tools")
            #expect(removed.data["deleted_at"]?.string != nil)
            #expect(try await world.get("/v1/repos/acme/tools").status == 404)
            #expect(try await world.call("PATCH", "/v1/repos/acme/tools", body: ["max_turns": 1]).status == 404)
            #expect(try await world.call("DELETE", "/v1/repos/acme/tools").status == 404)
            let refused = try await world.call(
                "POST", "/v1/tasks", body: ["repo": "acme/tools", "issue_number": 1])
            #expect(refused.code == "REPO_NOT_ONBOARDED")
            let back = try await world.call("POST", "/v1/repos", body: ["repo": "acme/tools"])
            #expect(back.status == 201)
            #expect(back.data["test_command"] == .null)
            #expect(back.data["deleted_at"] == .null)
            let actions = try await world.pool.run { connection in
                try connection.query("SELECT action FROM audit_log WHERE subject = 'acme/tools' ORDER BY id")
                    .map { try $0.get(0, as: String.self) }
            }
            #expect(actions == ["repo.create", "repo.update", "repo.delete", "repo.create"])
        }
    }

    @Test func `a repository's wrong settings are refused by name`() async throws {
        try await World.with { world async throws in
            let wrong: [(String, JSONValue)] = [
                ("credential_ref", "../secret"), ("credential_ref", ".."), ("default_branch", "bad branch"),
                ("default_branch", "a..b"), ("default_branch", "-x"), ("max_concurrent", 0),
                ("allow_ci_changes", "yes"),
                ("commit_email", "a\nb"), ("commit_name", "<x>"), ("test_command", ""), ("max_turns", 501),
                ("max_budget_usd", 1000), ("model", 5), ("notifications", []), ("colour", "red"),
            ]
            for (name, value) in wrong {
                let answer = try await world.call("PATCH", "/v1/repos/acme/shop", body: [name: value])
                #expect(answer.status == 400, "\(name): \(answer.body.text)")
                #expect(answer.message.contains(name), "\(name): \(answer.message)")
            }
            let later: [(String, JSONValue)] = [
                ("egress_allowlist", ["example.org"]), ("compute", ["backend": "container"]),
                ("mcp_servers", [["name": "x"]]), ("forge", "gitlab"), ("fork", true),
            ]
            for (name, value) in later {
                let answer = try await world.call("PATCH", "/v1/repos/acme/shop", body: [name: value])
                #expect(answer.status == 422, "\(name): \(answer.body.text)")
                #expect(answer.code == "NOT_SUPPORTED_YET")
                #expect(answer.message.contains(name))
            }
            #expect(try await world.count("SELECT count(*) FROM audit_log WHERE action LIKE 'repo%'") == 0)
        }
    }

    @Test func `lists come in pages by name`() async throws {
        try await World.with { world async throws in
            for name in ["c", "a", "b"] {
                #expect(try await world.call("POST", "/v1/repos", body: ["repo": .string("zoo/\(name)")]).status == 201)
                _ = try await world.person("user-\(name)")
            }
            func all(_ path: String, _ key: String) async throws -> [String] {
                var names: [String] = []
                var token: String?
                repeat {
                    let page = try await world.get("\(path)?limit=2" + (token.map { "&next_token=\($0)" } ?? ""))
                    names += page.data.array?.compactMap { $0[key]?.string } ?? []
                    token = page.next
                } while token != nil
                return names
            }
            #expect(try await all("/v1/repos", "repo") == ["acme/shop", "zoo/a", "zoo/b", "zoo/c"])
            #expect(try await all("/v1/users", "name") == ["admin", "user-a", "user-b", "user-c"])
            for number in 0..<3 {
                let body: JSONValue = ["name": .string("t\(number)")]
                #expect(try await world.call("POST", "/v1/users/user-a/tokens", body: body).status == 201)
            }
            #expect(try await all("/v1/users/user-a/tokens", "name") == ["test", "t0", "t1", "t2"])
        }
    }

    // MARK: - Accounts

    @Test func `an account is made, changed and closed, and its tokens with it`() async throws {
        try await World.with { world async throws in
            let body: JSONValue = ["name": "ada", "email": "ada@example.org", "max_concurrent": 5]
            let made = try await world.call("POST", "/v1/users", body: body)
            #expect(made.status == 201)
            #expect(made.data["role"] == "member")
            let id = made.data["user_id"]?.string ?? ""
            #expect(try await world.call("POST", "/v1/users", body: body).code == "USER_ALREADY_EXISTS")
            let token = try await world.call("POST", "/v1/users/\(id)/tokens", body: ["name": "laptop"])
            #expect(token.status == 201)
            let text = token.data["token"]?.string ?? ""
            #expect(text.hasPrefix("bga_"))
            let ada = World.Person(id: try #require(UserID(rawValue: id)), name: "ada", token: text)
            #expect(try await world.get("/v1/me", as: ada).data["email"] == "ada@example.org")
            #expect(try await world.get("/v1/users/ada", as: ada).status == 200)
            let changed = try await world.call("PATCH", "/v1/users/ada", body: ["role": "viewer", "email": .null])
            #expect(changed.data["role"] == "viewer")
            #expect(changed.data["email"] == .null)
            #expect(try await world.get("/v1/me", as: ada).data["role"] == "viewer")
            let stored = try await world.pool.run { connection in
                try connection.query("SELECT token_hash FROM api_tokens").map { try $0.get(0, as: String.self) }
            }
            #expect(!stored.contains { text.contains($0) || $0.contains(text) })
            #expect(try await world.call("DELETE", "/v1/users/\(id)").data["disabled_at"]?.string != nil)
            #expect(try await world.get("/v1/me", as: ada).status == 401)
            #expect(try await world.call("POST", "/v1/users/ada/tokens", body: [:]).code == "USER_CLOSED")
            let open = try await world.call("PATCH", "/v1/users/ada", body: ["disabled": false])
            #expect(open.data["disabled_at"] == .null)
            #expect(try await world.get("/v1/me", as: ada).status == 401)
        }
    }

    @Test func `wrong accounts are refused by name`() async throws {
        try await World.with { world async throws in
            let wrong: [JSONValue] = [
                [:], ["name": "Ada"], ["name": "-x"], ["name": ""],
                ["name": .string(String(repeating: "a", count: 64))],
                ["name": "ada", "role": "king"], ["name": "ada", "email": "nobody"],
                ["name": "ada", "email": "a@b\r\nBcc: c"],
                ["name": "ada", "max_concurrent": 0], ["name": "ada", "password": "x"], ["name": .null],
            ]
            for body in wrong {
                let answer = try await world.call("POST", "/v1/users", body: body)
                #expect(answer.status == 400, "\(body.text)")
            }
            #expect(try await world.call("PATCH", "/v1/users/admin", body: ["name": .null]).status == 400)
            #expect(try await world.call("PATCH", "/v1/users/nobody", body: ["role": "member"]).status == 404)
            #expect(try await world.call("POST", "/v1/users/admin/tokens", body: ["expires_in_s": 0]).status == 400)
        }
    }

    @Test func `the last administrator stays`() async throws {
        try await World.with { world async throws in
            for (method, body) in [
                ("DELETE", nil), ("PATCH", ["role": "member"] as JSONValue), ("PATCH", ["disabled": true]),
            ] {
                let answer = try await world.call(method, "/v1/users/admin", body: body)
                #expect(answer.status == 409)
                #expect(answer.code == "LAST_ADMIN")
            }
            #expect(try await world.get("/v1/me").status == 200)
            _ = try await world.person("root2", role: .admin)
            #expect(try await world.call("PATCH", "/v1/users/admin", body: ["role": "member"]).status == 200)
        }
    }

    @Test func `a token ends when it expires or is revoked, remembered or not`() async throws {
        try await World.with({ $0.tokenCache = .seconds(60) }) { world async throws in
            let ada = try await world.person("ada")
            let made = try await world.call("POST", "/v1/users/ada/tokens", as: ada, body: ["expires_in_s": 3600])
            let token = World.Person(id: ada.id, name: "ada", token: made.data["token"]?.string ?? "")
            let id = made.data["token_id"]?.string ?? ""
            #expect(try await world.get("/v1/me", as: token).status == 200)
            let revoked = try await world.call("DELETE", "/v1/tokens/\(id)", as: ada)
            #expect(revoked.data["revoked_at"]?.string != nil)
            #expect(try await world.get("/v1/me", as: token).status == 401)
            #expect(try await world.call("DELETE", "/v1/tokens/\(id)", as: ada).data == revoked.data)
            #expect(try await world.get("/v1/me", as: ada).status == 200)
            try await world.pool.run {
                try $0.query("UPDATE api_tokens SET expires_at = now() WHERE user_id = \(ada.id.rawValue)")
                return
            }
            // Another gateway may still remember it; a submit always looks.
            let submit = try await world.call(
                "POST", "/v1/tasks", as: ada, body: ["repo": "acme/shop", "issue_number": 1])
            #expect(submit.status == 401)
            world.api.authenticator.forget()
            #expect(try await world.get("/v1/me", as: ada).status == 401)
        }
    }

    @Test func `what administrators do is in the log, chained`() async throws {
        try await World.with { world async throws in
            #expect(try await world.call("POST", "/v1/users", body: ["name": "ada"]).status == 201)
            #expect(try await world.call("POST", "/v1/users/ada/tokens", body: [:]).status == 201)
            #expect(try await world.call("DELETE", "/v1/users/ada").status == 200)
            #expect(try await world.call("DELETE", "/v1/users/ada").status == 200)
            let rows = try await world.pool.run { connection in
                try connection.query("SELECT action, user_id, chain FROM audit_log ORDER BY id").map { row in
                    (
                        try row.get("action", as: String.self), try row.get("user_id", as: String?.self),
                        try row.get("chain", as: String.self)
                    )
                }
            }
            #expect(rows.map(\.0) == ["token.bootstrap", "user.create", "token.create", "user.close"])
            #expect(rows.dropFirst().allSatisfy { $0.1 == world.admin.id.rawValue })
            #expect(Set(rows.map(\.2)).count == rows.count)
        }
    }
}
