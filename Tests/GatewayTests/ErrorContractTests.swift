import Domain
import FoundationEssentials
import HTTPServer
import HTTPTypes
import Postgres
import Store
import TestSupport
import Testing

@testable import Gateway

/// One request that must be refused, and how.
struct Refusal: Sendable, CustomTestStringConvertible {
    let method: String
    let path: String
    var body: JSONValue?
    var text: String?
    var headers: Headers = []
    let status: Int
    let code: String
    /// Words that the message must hold: above all the names of what is wrong.
    var says: [String] = []

    var testDescription: String { "\(method) \(path) \(body?.text ?? text ?? "")" }

    static func body(_ text: String, _ says: String...) -> Refusal {
        Refusal(method: "POST", path: "/v1/tasks", text: text, status: 400, code: "VALIDATION_ERROR", says: says)
    }

    static func task(_ body: JSONValue, _ status: Int, _ code: String, _ says: String...) -> Refusal {
        Refusal(method: "POST", path: "/v1/tasks", body: body, status: status, code: code, says: says)
    }

    static func invalid(_ body: JSONValue, _ says: String...) -> Refusal {
        Refusal(method: "POST", path: "/v1/tasks", body: body, status: 400, code: "VALIDATION_ERROR", says: says)
    }

    static func get(_ path: String, _ status: Int, _ code: String, _ says: String...) -> Refusal {
        Refusal(method: "GET", path: path, status: status, code: code, says: says)
    }
}

@Suite struct ErrorContractTests {
    private static let good: JSONValue = ["repo": "acme/shop", "task_description": "Fix it"]

    private static func with(_ name: String, _ value: JSONValue) -> JSONValue {
        var members = good.object ?? [:]
        members[name] = value
        return .object(members)
    }

    private static let bodies: [Refusal] = [
        .body("", "body is missing"), .body("{", "line 1", "column 2"),
        .body("{\"repo\":\n  nope}", "line 2", "column 3"),
        .body("{\"repo\":\"a/b\",\"repo\":\"c/d\"}", "twice"), .body("{} {}", "behind the end"), .body("[]", "object"),
        .body("\"text\"", "object"), .body("{\"repo\":\"\\ud800\"}", "half a character"), .body("{\"a\":01}", "line 1"),
        .body(String(repeating: "[", count: 100), "deeply"),
        .invalid([:], "repo is missing", "task_description or issue_number"),
        .invalid(["repo": "acme/shop"], "task_description or issue_number"),
        .invalid(with("repo", "no-slash"), "repo must be OWNER/NAME"), .invalid(with("repo", "../.."), "repo"),
        .invalid(with("repo", 7), "repo"), .invalid(with("repo", "acme/shop/more"), "repo"),
        .invalid(with("task_description", ""), "task_description"),
        .invalid(with("task_description", "  \n"), "task_description must not be empty"),
        .invalid(with("task_description", .string(String(repeating: "ä", count: 10_001))), "at most 10000"),
        .invalid(with("task_description", "zero \0 byte"), "task_description", "zero character"),
        .invalid(with("task_description", ["list"]), "task_description must be a text"),
        .invalid(with("issue_number", 0), "issue_number"), .invalid(with("issue_number", 1.5), "issue_number"),
        .invalid(with("issue_number", 99_999_999_999), "issue_number"),
        .invalid(with("issue_number", "7"), "issue_number"),
        .invalid(with("max_turns", 0), "max_turns", "from 1 to 500"), .invalid(with("max_turns", 501), "max_turns"),
        .invalid(with("max_turns", true), "max_turns"), .invalid(with("max_budget_usd", 0), "max_budget_usd"),
        .invalid(with("max_budget_usd", 100.01), "max_budget_usd"),
        .invalid(with("max_budget_usd", "5"), "max_budget_usd"),
        .invalid(with("max_duration_s", 0), "max_duration_s"),
        .invalid(with("max_duration_s", 604_801), "max_duration_s"),
        .invalid(with("colour", "red"), "'colour' is not a known field"),
        .invalid(with("workflow_ref", "coding/unheard-of-v1"), "workflow_ref"),
        .invalid(with("notifications", "slack"), "notifications"),
        .invalid(with("notifications", ["Slack": [:]]), "notifications", "Slack"),
        .invalid(with("notifications", ["slack": true]), "notifications.slack"),
        .invalid(with("notifications", ["slack": ["enabled": "yes"]]), "notifications.slack.enabled"),
        .invalid(with("notifications", ["slack": ["events": ["no_such_event"]]]), "no_such_event"),
        .invalid(with("notifications", ["slack": ["loud": true]]), "loud"),
        .invalid(with("notifications", ["slack": ["loud": nil]]), "loud"),
        .invalid(
            ["repo": "x", "max_turns": 0, "max_budget_usd": -1, "zebra": 1, "apple": 2], "repo", "max_turns",
            "max_budget_usd", "'apple'", "'zebra'", "task_description"),
        .task(with("pr_number", 3), 422, "NOT_SUPPORTED_YET", "pr_number"),
        .task(with("attachments", [[:]]), 422, "NOT_SUPPORTED_YET", "attachments"),
        .task(with("workflow_ref", "coding/pr-review-v1"), 422, "NOT_SUPPORTED_YET", "coding/pr-review-v1"),
        .task(with("task_type", "pr_iteration"), 422, "NOT_SUPPORTED_YET", "pr_iteration"),
        .task(["repo": "acme/unknown", "task_description": "x"], 422, "REPO_NOT_ONBOARDED", "acme/unknown"),
    ]

    private static let others: [Refusal] = [
        .get("/v1/nothing", 404, "NOT_FOUND"), .get("/", 404, "NOT_FOUND"), .get("/v1/tasks/", 404, "NOT_FOUND"),
        Refusal(method: "PUT", path: "/v1/tasks", status: 405, code: "METHOD_NOT_ALLOWED", says: ["GET", "POST"]),
        Refusal(method: "POST", path: "/v1/me", status: 405, code: "METHOD_NOT_ALLOWED", says: ["GET"]),
        .get("/v1/tasks?limit=0", 400, "VALIDATION_ERROR", "limit"),
        .get("/v1/tasks?limit=101", 400, "VALIDATION_ERROR", "limit"),
        .get("/v1/tasks?limit=ten", 400, "VALIDATION_ERROR", "limit"),
        .get("/v1/tasks?limit=1&limit=2", 400, "VALIDATION_ERROR", "limit", "twice"),
        .get("/v1/tasks?colour=red", 400, "VALIDATION_ERROR", "'colour'"),
        .get("/v1/tasks?status=RUNNING,NAPPING", 400, "VALIDATION_ERROR", "status"),
        .get("/v1/tasks?status=", 400, "VALIDATION_ERROR", "status"),
        .get("/v1/tasks?repo=nonsense", 400, "VALIDATION_ERROR", "repo"),
        .get("/v1/tasks?next_token=garbage", 400, "VALIDATION_ERROR", "next_token"),
        .get("/v1/tasks?next_token=MQo5OTk5OTk5OTk5OTk5OTk5OTk5", 400, "VALIDATION_ERROR", "next_token"),
        .get("/v1/tasks?repo=%zz", 400, "VALIDATION_ERROR", "escape"),
        .get("/v1/tasks?repo=a%00b", 400, "VALIDATION_ERROR", "escape"),
        .get("/v1/me?x=1", 400, "VALIDATION_ERROR", "'x'"),
        .get("/v1/tasks/nonsense", 404, "TASK_NOT_FOUND"), .get("/v1/tasks/nonsense/status", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/nonsense/events", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/01JZ0000000000000000000001", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/01JZ0000000000000000000001/status", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/01JZ0000000000000000000001/events", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/01JZ0000000000000000000001/events?wait=1", 404, "TASK_NOT_FOUND"),
        .get("/v1/tasks/01JZ0000000000000000000001/events?wait=26", 400, "VALIDATION_ERROR", "wait"),
        .get("/v1/tasks/01JZ0000000000000000000001/events?after=x", 400, "VALIDATION_ERROR", "after"),
        .get("/v1/tasks/01JZ0000000000000000000001/events?type=x", 400, "VALIDATION_ERROR", "type"),
        .get("/v1/tasks/01JZ0000000000000000000001/events?desc=maybe", 400, "VALIDATION_ERROR", "desc"),
        .get(
            "/v1/tasks/01JZ0000000000000000000001/events?desc=1&after=01JZ0000000000000000000001", 400,
            "VALIDATION_ERROR", "desc"),
        Refusal(
            method: "DELETE", path: "/v1/tasks/01JZ0000000000000000000001", status: 404, code: "TASK_NOT_FOUND"),
        .get("/v1/repos/acme/missing", 404, "REPO_NOT_FOUND"), .get("/v1/users/nobody", 404, "USER_NOT_FOUND"),
        .get("/v1/users/nobody/tokens", 404, "USER_NOT_FOUND"),
        Refusal(method: "DELETE", path: "/v1/tokens/nonsense", status: 404, code: "TOKEN_NOT_FOUND"),
        Refusal(
            method: "DELETE", path: "/v1/tokens/01JZ0000000000000000000001", status: 404, code: "TOKEN_NOT_FOUND"),
        Refusal(
            method: "POST", path: "/v1/tasks", body: good, headers: ["Content-Type": "text/plain"], status: 415,
            code: "UNSUPPORTED_MEDIA_TYPE", says: ["application/json"]),
        Refusal(
            method: "POST", path: "/v1/tasks", body: good, headers: ["Idempotency-Key": "with space"], status: 400,
            code: "VALIDATION_ERROR", says: ["Idempotency-Key"]),
        Refusal(
            method: "POST", path: "/v1/tasks", body: good,
            headers: ["Idempotency-Key": String(repeating: "k", count: 129)], status: 400, code: "VALIDATION_ERROR",
            says: ["Idempotency-Key"]),
        Refusal(
            method: "POST", path: "/v1/tasks", text: String(repeating: " ", count: 1 << 20) + "{}", status: 413,
            code: "PAYLOAD_TOO_LARGE"),
    ]

    @Test func `what is wrong is refused by name and nothing is made of it`() async throws {
        try await World.with { world async throws in
            for refusal in Self.bodies + Self.others {
                let answer = try await world.call(
                    refusal.method, refusal.path, body: refusal.body, text: refusal.text, headers: refusal.headers)
                let what = "\(refusal.testDescription.prefix(200)): \(answer.body.text)"
                #expect(answer.status == refusal.status, "\(what)")
                #expect(answer.code == refusal.code, "\(what)")
                for word in refusal.says { #expect(answer.message.contains(word), "\(word) in \(what)") }
                if refusal.status == 405 { #expect(answer.headers["Allow"] != nil, "\(what)") }
            }
            #expect(try await world.count("SELECT count(*) FROM tasks") == 0)
        }
    }

    @Test func `a request keeps its own id when it is a ULID`() async throws {
        try await World.with { world async throws in
            let id = "01JZ000000000000000000ABCD"
            let kept = try await world.call("GET", "/v1/me", headers: ["X-Request-Id": id])
            #expect(kept.headers["X-Request-Id"] == id)
            let made = try await world.call("GET", "/v1/nothing", headers: ["X-Request-Id": "<script>"])
            #expect(made.headers["X-Request-Id"]?.utf8.count == 26)
        }
    }

    @Test func `tokens that are missing, foreign or malformed open nothing`() async throws {
        try await World.with { world async throws in
            let token = world.admin.token
            let headers: [Headers] = [
                [], ["Authorization": token], ["Authorization": "Bearer"], ["Authorization": "Basic \(token)"],
                ["Authorization": "Bearer bga_unknown"], ["Authorization": "Bearer \(token)x"],
                ["Authorization": "Bearer \(token) \(token)"],
                ["Authorization": "Bearer bga_\(String(repeating: "x", count: 400))"],
            ]
            for header in headers {
                let open = ["/v1/openapi.json", "/v1/login", "/v1/traces/{task_id}"]
                for (method, path) in world.promisedOperations where !open.contains(path) {
                    let concrete = path.replacing("{task_id}", with: "01JZ0000000000000000000001")
                        .replacing("{token_id}", with: "01JZ0000000000000000000001")
                        .replacing("{owner}", with: "acme").replacing("{name}", with: "shop")
                        .replacing("{user}", with: "admin")
                    let body: JSONValue? = method == "POST" || method == "PATCH" ? Self.good : nil
                    let answer = try await world.call(method, concrete, anonymous: true, body: body, headers: header)
                    #expect(answer.status == 401, "\(method) \(path)")
                    #expect(answer.code == "UNAUTHORIZED")
                    #expect(answer.headers["WWW-Authenticate"] == "Bearer")
                }
            }
            #expect(try await world.call("GET", "/v1/me", headers: ["authorization": "bearer \(token)"]).status == 200)
        }
    }

    @Test func `without its database the gateway says so and asks to come again`() async throws {
        try await World.with { world async throws in
            let id = try await world.submit()
            try await ScratchDatabase.drop(
                String(world.databaseURL.split(separator: "/").last ?? ""), on: try ScratchDatabase.server())
            for (method, path) in [
                ("GET", "/v1/me"), ("GET", "/v1/tasks"), ("GET", "/v1/tasks/\(id)/events"),
                ("DELETE", "/v1/tasks/\(id)"),
            ] {
                let answer = try await world.call(method, path)
                #expect(answer.status == 503, "\(method) \(path): \(answer.body.text)")
                #expect(answer.code == "SERVICE_UNAVAILABLE")
                #expect(answer.headers["Retry-After"] == "1")
            }
            let answer = try await world.call("POST", "/v1/tasks", body: Self.good)
            #expect(answer.status == 503)
            #expect(!answer.message.contains("postgres"))
        }
    }

    @Test func `what takes too long is asked for again, and only a long poll has nothing to tell`() throws {
        func answer(_ target: String) -> Response {
            Answer.failure(
                .laterTimedOut, Request(method: "GET", target: target, headers: [], body: .bytes([]), remoteAddress: "")
            )
        }
        #expect(answer("/v1/tasks/x/status").status == 503)
        #expect(answer("/v1/tasks/x/events?wait=20").status == 200)
    }

    @Test func `a task that somebody else holds is busy, not an error`() async throws {
        try await World.with(patience: .seconds(2)) { world async throws in
            let id = try await world.submit()
            let (held, holding) = AsyncStream.makeStream(of: Void.self)
            let (done, finish) = AsyncStream.makeStream(of: Void.self)
            let holder = Task {
                let connection = LockHolder(world.databaseURL, id)
                try await connection.hold {
                    holding.finish()
                } until: {
                    for await _ in done {}
                }
            }
            for await _ in held {}
            let answer = try await world.call("DELETE", "/v1/tasks/\(id)")
            #expect(answer.status == 503)
            #expect(answer.headers["Retry-After"] == "1")
            finish.finish()
            try await holder.value
            try await eventually("the task is free") {
                try await world.call("DELETE", "/v1/tasks/\(id)").status == 200
            }
        }
    }
}
