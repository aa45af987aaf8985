import Domain
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

@Suite struct AccessTests {
    @Test func `somebody else's task looks like no task`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            let id = try await world.submit(as: ada)
            let nothing = "01JZ0000000000000000000001"
            for (method, suffix) in [
                ("GET", ""), ("GET", "/status"), ("GET", "/events"), ("GET", "/events?wait=1"), ("DELETE", ""),
                ("GET", "/logs"), ("GET", "/logs?wait=1"), ("GET", "/top"),
            ] {
                let theirs = try await world.call(method, "/v1/tasks/\(id)\(suffix)", as: ben)
                let none = try await world.call(method, "/v1/tasks/\(nothing)\(suffix)", as: ben)
                #expect(theirs.status == 404)
                #expect(theirs.code == none.code)
                #expect(theirs.message == none.message)
            }
            #expect(try await world.get("/v1/tasks", as: ben).data == [])
            #expect(try await world.get("/v1/tasks", as: ada).data.array?.count == 1)
            #expect(try await world.get("/v1/tasks").data.array?.count == 1)
            #expect(try await world.get("/v1/tasks/\(id)").status == 200)
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)").status == 200)
        }
    }

    @Test func `a viewer looks and changes nothing`() async throws {
        try await World.with { world async throws in
            let viewer = try await world.person("vera", role: .viewer)
            let body: JSONValue = ["repo": "acme/shop", "issue_number": 1]
            #expect(try await world.call("POST", "/v1/tasks", as: viewer, body: body).status == 403)
            #expect(try await world.get("/v1/repos", as: viewer).data.array?.count == 1)
            #expect(try await world.get("/v1/me", as: viewer).data["role"] == "viewer")
            let id = try await world.submit()
            try await world.pool.run {
                try $0.query("UPDATE tasks SET user_id = \(viewer.id.rawValue) WHERE task_id = \(id.rawValue)")
                return
            }
            #expect(try await world.get("/v1/tasks/\(id)", as: viewer).status == 200)
            #expect(try await world.call("DELETE", "/v1/tasks/\(id)", as: viewer).status == 403)
        }
    }

    @Test func `administration is for administrators`() async throws {
        try await World.with { world async throws in
            let ada = try await world.person("ada")
            let calls: [(String, String, JSONValue?)] = [
                ("POST", "/v1/repos", ["repo": "a/b"]), ("PATCH", "/v1/repos/acme/shop", ["model": "m"]),
                ("DELETE", "/v1/repos/acme/shop", nil), ("GET", "/v1/users", nil),
                ("POST", "/v1/users", ["name": "eve"]),
                ("GET", "/v1/users/admin", nil), ("GET", "/v1/users/nobody", nil),
                ("PATCH", "/v1/users/ada", ["role": "admin"]), ("DELETE", "/v1/users/admin", nil),
                ("POST", "/v1/users/admin/tokens", [:]), ("GET", "/v1/users/admin/tokens", nil),
                ("POST", "/v1/users/nobody/tokens", [:]),
            ]
            for (method, path, body) in calls {
                let answer = try await world.call(method, path, as: ada, body: body)
                #expect(answer.status == 403, "\(method) \(path): \(answer.body.text)")
                #expect(answer.code == "FORBIDDEN")
            }
            let tokens = try await world.get("/v1/users/admin/tokens").data.array
            let id = tokens?.first?["token_id"]?.string ?? ""
            #expect(try await world.call("DELETE", "/v1/tokens/\(id)", as: ada).status == 404)
        }
    }

    @Test func `who may not come in hears nothing about the body`() async throws {
        try await World.with { world async throws in
            let answer = try await world.call(
                "POST", "/v1/tasks", anonymous: true, body: ["nonsense": 1],
                headers: ["Authorization": "Bearer bga_unknown"])
            #expect(answer.status == 401)
        }
    }

    @Test func `a busy user is slowed down and told for how long, others are not`() async throws {
        try await World.with({
            $0.userRate = 0.001
            $0.userBurst = 3
        }) { world async throws in
            let ada = try await world.person("ada")
            for _ in 0..<3 { #expect(try await world.get("/v1/me", as: ada).status == 200) }
            let refused = try await world.get("/v1/me", as: ada)
            #expect(refused.status == 429)
            #expect(refused.code == "RATE_LIMIT_EXCEEDED")
            #expect((Int(refused.headers["Retry-After"] ?? "") ?? 0) > 0)
            let submit = try await world.call(
                "POST", "/v1/tasks", as: ada, body: ["repo": "acme/shop", "issue_number": 1])
            #expect(submit.status == 429)
            #expect(try await world.get("/v1/me").status == 200)
        }
    }

    @Test func `an address is slowed down; a proxy's word counts when it is trusted`() async throws {
        try await World.with({ $0.addressRate = 5 }) { world async throws in
            for _ in 0..<5 { #expect(try await world.get("/v1/nothing").status == 404) }
            let refused = try await world.call("GET", "/v1/nothing", headers: ["X-Forwarded-For": "192.0.2.1"])
            #expect(refused.status == 429)
            #expect(refused.headers["Retry-After"] != nil)
        }
        try await World.with({
            $0.addressRate = 5
            $0.trustedProxies = ["127.0.0.1"]
        }) { world async throws in
            for number in 0..<8 {
                let headers: Headers = ["X-Forwarded-For": "203.0.113.9, 192.0.2.\(number)"]
                let answer = try await world.call("GET", "/v1/nothing", headers: headers)
                #expect(answer.status == 404)
            }
        }
    }
}
