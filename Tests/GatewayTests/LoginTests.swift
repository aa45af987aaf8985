import Crypto
import Domain
import HTTPTypes
import Postgres
import Store
import Telemetry
import TestSupport
import Testing
import Threads

@testable import Gateway

@Suite struct LoginTests {
    private static let password = "three green herons"
    private static let other = "four grey herons"

    @Test func `a login is a short token, stored hashed, listed and ended like others`() async throws {
        try await World.with({ $0.tokenCache = .seconds(60) }) { world async throws in
            let ada = try await world.person("ada")
            try await world.setPassword(Self.password, of: "ada")
            let answer = try await world.login("ada", Self.password)
            #expect(answer.status == 200)
            let session = try world.session(answer)
            #expect(try await world.get("/v1/me", as: session).data["name"] == "ada")
            let listed = try await world.get("/v1/users/ada/tokens", as: session).data.array ?? []
            #expect(listed.compactMap { $0["kind"]?.string } == ["api", "session"])
            #expect(listed.last?["expires_at"] == answer.data["expires_at"])
            let stored = try await world.pool.run { connection in
                try connection.query(
                    """
                    SELECT token_hash, extract(epoch FROM expires_at - created_at)::int AS life FROM api_tokens
                    WHERE kind = 'session'
                    """
                ).map { (try $0.get("token_hash", as: String.self), try $0.get("life", as: Int.self)) }
            }
            #expect(stored.count == 1)
            #expect(stored.first.map { !session.token.contains($0.0) && !$0.0.contains(session.token) } == true)
            #expect(stored.first?.1 == 43_200)
            #expect(try await world.call("POST", "/v1/logout", as: session).data["revoked_at"]?.string != nil)
            #expect(try await world.get("/v1/me", as: session).status == 401)
            #expect(try await world.call("POST", "/v1/logout", as: ada).code == "NOT_A_LOGIN")
            #expect(try await world.get("/v1/me", as: ada).status == 200)
            #expect(try await Self.audit(world) == ["session.login", "session.logout"])
            #expect(world.metrics.exposition().contains(#"bgagent_logins_total{result="ok"} 1"#))
        }
    }

    @Test func `a refusal says the same of every account, known or not`() async throws {
        try await World.with { world async throws in
            for name in ["ada", "closed", "none", "late"] { _ = try await world.person(name) }
            for name in ["ada", "closed", "late"] { try await world.setPassword(Self.password, of: name) }
            #expect(try await world.call("DELETE", "/v1/users/closed").status == 200)
            try await world.pool.run {
                try $0.query("UPDATE users SET password_once_until = now() - interval '1 s' WHERE name = 'late'")
                return
            }
            let wrong = try await world.login("ada", Self.other)
            #expect(wrong.status == 401)
            #expect(wrong.code == "LOGIN_REFUSED")
            let id = try await world.pool.run { connection in
                try connection.query("SELECT user_id FROM users WHERE name = 'ada'").only().get(0, as: String.self)
            }
            let names = ["nobody", "closed", "none", "late", "ADA", id, String(repeating: "x", count: 200), "a'b\"c"]
            for name in names {
                let answer = try await world.login(name, Self.password)
                #expect(answer.status == wrong.status, "\(name)")
                #expect(answer.code == wrong.code, "\(name)")
                #expect(answer.message == wrong.message, "\(name)")
                #expect(answer.headers["WWW-Authenticate"] == wrong.headers["WWW-Authenticate"])
            }
            #expect(try await world.count("SELECT count(*) FROM api_tokens WHERE kind = 'session'") == 0)
        }
    }

    @Test func `a refusal takes the same work for every account, known or not`() async throws {
        let cost = PasswordHash.Cost(logN: 14)
        try await World.with({ $0.passwordCost = cost }) { world async throws in
            for name in ["ada", "closed", "none"] { _ = try await world.person(name) }
            let hash = try PasswordHash.make(Self.password, cost: cost)
            try await world.pool.run {
                try $0.query("UPDATE users SET password_hash = \(hash) WHERE name IN ('ada', 'closed')")
                return
            }
            #expect(try await world.call("DELETE", "/v1/users/closed").status == 200)
            for (count, name) in ["ada", "nobody", "closed", "none"].enumerated() {
                #expect(try await world.login(name, Self.other).status == 401)
                let counted = "\nbgagent_password_checks_total \(count + 1)\n"
                #expect(world.metrics.exposition().contains(counted), "\(name)")
            }
        }
    }

    @Test func `a one-time password opens one login, which must bring another`() async throws {
        try await World.with { world async throws in
            #expect(try await world.call("POST", "/v1/users", body: ["name": "ada"]).data["password"] == "none")
            let given = try await world.call("POST", "/v1/users/ada/password")
            let once = given.data["password"]?.string ?? ""
            #expect(once.count >= 16)
            #expect(try await world.get("/v1/users/ada").data["password"] == "once")
            let refused = try await world.login("ada", once)
            #expect(refused.status == 403)
            #expect(refused.code == "PASSWORD_CHANGE_REQUIRED")
            #expect(try await world.login("ada", "wrong", fresh: Self.password).status == 401)
            #expect(try await world.login("ada", once, fresh: "too short").status == 400)
            let session = try world.session(try await world.login("ada", once, fresh: Self.password))
            #expect(try await world.get("/v1/me", as: session).data["password"] == "set")
            #expect(try await world.login("ada", once, fresh: Self.other).status == 401)
            #expect(try await world.login("ada", Self.password).status == 200)
            // Given anew, it ends what was open.
            #expect(try await world.call("POST", "/v1/users/ada/password").status == 200)
            #expect(try await world.get("/v1/me", as: session).status == 401)
            #expect(try await world.login("ada", Self.password).status == 401)
            #expect(try await world.call("POST", "/v1/users/nobody/password").code == "USER_NOT_FOUND")
            #expect(try await world.call("DELETE", "/v1/users/ada").status == 200)
            #expect(try await world.call("POST", "/v1/users/ada/password").code == "USER_CLOSED")
            let ben = try await world.person("ben")
            #expect(try await world.call("POST", "/v1/users/admin/password", as: ben).status == 403)
        }
    }

    @Test func `another password ends every login at once, and API tokens stay`() async throws {
        try await World.with({ $0.tokenCache = .seconds(60) }) { world async throws in
            let ada = try await world.person("ada")
            try await world.setPassword(Self.password, of: "ada")
            let one = try world.session(try await world.login("ada", Self.password))
            let two = try world.session(try await world.login("ada", Self.password))
            for session in [one, two, ada] { #expect(try await world.get("/v1/me", as: session).status == 200) }
            func change(_ old: String, _ fresh: String, as person: World.Person) async throws -> World.Answer {
                try await world.call(
                    "POST", "/v1/me/password", as: person,
                    body: ["password": .string(old), "new_password": .string(fresh)])
            }
            #expect(try await change(Self.other, Self.other + "!", as: one).code == "PASSWORD_WRONG")
            #expect(try await change(Self.password, Self.password, as: one).status == 400)
            #expect(try await change(Self.password, "short", as: one).status == 400)
            let next = try world.session(try await change(Self.password, Self.other, as: one))
            for session in [one, two] { #expect(try await world.get("/v1/me", as: session).status == 401) }
            for session in [next, ada] { #expect(try await world.get("/v1/me", as: session).status == 200) }
            #expect(try await world.login("ada", Self.password).status == 401)
            let byToken = try await change(Self.other, Self.password, as: ada)
            #expect(byToken.status == 200)
            #expect(byToken.data["token"] == .null)
            #expect(try await world.get("/v1/me", as: next).status == 401)
            #expect(try await world.get("/v1/me", as: ada).status == 200)
            #expect(try await change("x", Self.other, as: world.admin).code == "NO_PASSWORD")
        }
    }

    @Test func `a closed account's logins end at once and for good`() async throws {
        try await World.with({ $0.tokenCache = .seconds(60) }) { world async throws in
            let ada = try await world.person("ada")
            try await world.setPassword(Self.password, of: "ada")
            let session = try world.session(try await world.login("ada", Self.password))
            #expect(try await world.get("/v1/me", as: session).status == 200)
            #expect(try await world.call("PATCH", "/v1/users/ada", body: ["disabled": true]).status == 200)
            for person in [session, ada] { #expect(try await world.get("/v1/me", as: person).status == 401) }
            #expect(try await world.call("PATCH", "/v1/users/ada", body: ["disabled": false]).status == 200)
            for person in [session, ada] { #expect(try await world.get("/v1/me", as: person).status == 401) }
            #expect(try await world.login("ada", Self.password).status == 200)
        }
    }

    @Test func `another gateway ends a login as soon as the database does`() async throws {
        try await World.with({ $0.tokenCache = .seconds(60) }) { world async throws in
            _ = try await world.person("ada")
            try await world.setPassword(Self.password, of: "ada")
            let session = try world.session(try await world.login("ada", Self.password))
            #expect(try await world.get("/v1/me", as: session).status == 200)
            // As the other one would: this gateway hears nothing of it.
            try await world.pool.run {
                try $0.query("UPDATE api_tokens SET revoked_at = now() WHERE kind = 'session'")
                return
            }
            #expect(try await world.get("/v1/me", as: session).status == 401)
        }
    }

    @Test func `who guesses is slowed down by account and by address, right or wrong`() async throws {
        try await World.with({
            $0.loginRate = 3
            $0.trustedProxies = ["127.0.0.1"]
        }) { world async throws in
            for name in ["ada", "ben"] {
                _ = try await world.person(name)
                try await world.setPassword(Self.password, of: name)
            }
            func attempt(_ name: String, _ password: String, from address: String) async throws -> World.Answer {
                try await world.login(name, password, headers: ["X-Forwarded-For": address])
            }
            for number in 0..<3 {
                #expect(try await attempt("ada", "wrong", from: "192.0.2.\(number)").status == 401)
                #expect(try await attempt("nobody", "wrong", from: "192.0.2.\(number)").status == 401)
            }
            for name in ["ada", "nobody"] {
                let limited = try await attempt(name, Self.password, from: "198.51.100.1")
                #expect(limited.status == 429)
                #expect((Int(limited.headers["Retry-After"] ?? "") ?? 0) > 0)
            }
            #expect(try await attempt("ben", Self.password, from: "198.51.100.2").status == 200)
            for number in 0..<3 {
                #expect(try await attempt("stranger-\(number)", "wrong", from: "203.0.113.9").status == 401)
            }
            #expect(try await attempt("ben", Self.password, from: "203.0.113.9").status == 429)
            #expect(try await attempt("ben", Self.password, from: "203.0.113.10").status == 200)
        }
    }

    @Test func `refused logins are counted in the audit log and do not flood it`() async throws {
        try await World.with({
            $0.loginRate = 1000
            $0.trustedProxies = ["127.0.0.1"]
        }) { world async throws in
            let ada = try await world.person("ada")
            for number in 0..<20 {
                let headers: Headers = ["X-Forwarded-For": "192.0.2.\(number)"]
                #expect(try await world.login("ada", "wrong", headers: headers).status == 401)
                #expect(try await world.login("nobody-\(number)", "wrong", headers: headers).status == 401)
            }
            for subject in [ada.id.rawValue, "unknown"] {
                try await eventually("the log tells of \(subject)") {
                    try await Self.refusals(subject, world) == [1, 2, 4, 8, 16]
                }
            }
        }
    }

    @Test func `a password of another cost is hashed anew at the next login`() async throws {
        try await World.with({ $0.passwordCost = PasswordHash.Cost(logN: 5) }) { world async throws in
            _ = try await world.person("ada")
            try await world.setPassword(Self.password, of: "ada")
            let first = try world.session(try await world.login("ada", Self.password))
            let stored = try await world.pool.run { connection in
                try connection.query("SELECT password_hash FROM users WHERE name = 'ada'").only().get(
                    0, as: String.self)
            }
            #expect(stored.hasPrefix("$scrypt$ln=5,"))
            #expect(try await world.login("ada", Self.password).status == 200)
            #expect(try await world.get("/v1/me", as: first).status == 200)
        }
    }

    @Test func `a login's body is checked like any other`() async throws {
        try await World.with { world async throws in
            let wrong: [JSONValue] = [
                [:], ["name": "ada"], ["password": "x"], ["name": "ada", "password": 5], ["name": "", "password": "x"],
                ["name": "ada", "password": "x", "more": 1],
                ["name": "ada", "password": .string(String(repeating: "x", count: 1025))],
                ["name": "ada", "password": "a\u{0}b"],
            ]
            for body in wrong {
                let answer = try await world.call("POST", "/v1/login", anonymous: true, body: body)
                #expect(answer.status == 400, "\(body.text)")
                #expect(!answer.body.text.contains("xxxx"))
            }
            #expect(try await world.call("GET", "/v1/login", anonymous: true).status == 405)
        }
    }

    private static func audit(_ world: World) async throws -> [String] {
        try await world.pool.run { connection in
            try connection.query("SELECT action FROM audit_log WHERE action LIKE 'session.%' ORDER BY id")
                .map { try $0.get(0, as: String.self) }
        }
    }

    /// How often the audit log was told of refused logins, by the counts that it was told.
    private static func refusals(_ subject: String, _ world: World) async throws -> [Int] {
        try await world.pool.run { connection in
            try connection.query(
                """
                SELECT (detail ->> 'refused')::int AS refused FROM audit_log
                WHERE action = 'session.refuse' AND subject = \(subject) ORDER BY refused
                """
            ).map { try $0.get(0, as: Int.self) }
        }
    }
}
