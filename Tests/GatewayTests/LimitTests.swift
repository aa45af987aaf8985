import Config
import Crypto
import Domain
import HTTPTypes
import Telemetry
import Testing
import Threads

@testable import Gateway

@Suite struct LimitTests {
    private static let start = MonotonicTime(nanoseconds: 0)

    /// How many calls pass before one is refused, which says when to come again; nil when none is.
    private static func taken(
        _ world: World, as person: World.Person, _ call: (World.Person) async throws -> World.Answer
    ) async throws -> Int? {
        for number in 0..<200 {
            let answer = try await call(person)
            guard answer.status == 429 else { continue }
            #expect(answer.headers["Retry-After"].flatMap { Int($0) }.map { $0 > 0 } == true)
            return number
        }
        return nil
    }

    @Test func `decisions, looks at what waits and trials of rules are limited for each person alone`() async throws {
        try await World.with { world async throws in
            let (ada, ben) = (try await world.person("ada"), try await world.person("ben"))
            let id = try await world.submit(as: ada)
            let decision = "/v1/tasks/\(id)/approvals/01JZ0000000000000000000001"
            let decide = { (person: World.Person) in
                try await world.call("POST", decision, as: person, body: ["decision": "deny"])
            }
            let look = { (person: World.Person) in try await world.get("/v1/pending", as: person) }
            let attempt = { (person: World.Person) in
                try await world.call(
                    "POST", "/v1/policies/test", as: person, body: ["tool_name": "Bash", "input": [:]])
            }
            // The bucket fills while the calls come, so a slow machine may pass some more, never fewer.
            for (least, call) in [(30, decide), (10, look), (30, attempt)] {
                let passed = try await Self.taken(world, as: ada, call)
                #expect(passed.map { $0 >= least } == true, "\(least): \(String(describing: passed))")
                #expect(try await call(ben).status != 429)
            }
        }
    }

    @Test func `a bucket fills again`() {
        let limiter = RateLimiter(perSecond: 2, burst: 3)
        let start = Self.start
        #expect((0..<3).allSatisfy { _ in limiter.take("a", now: start) == nil })
        #expect(limiter.take("a", now: start) == 1)
        #expect(limiter.take("b", now: start) == nil)
        #expect(limiter.take("a", now: start + .milliseconds(600)) == nil)
        #expect(limiter.take("a", now: start + .milliseconds(600)) == 1)
        #expect(RateLimiter(perSecond: 0, burst: 1).take("a") == nil)
    }

    @Test func `however many addresses there are, memory is bounded, and who is limited stays so`() {
        let limiter = RateLimiter(perSecond: 0.001, burst: 2, capacity: 100)
        for _ in 0..<2 { #expect(limiter.take("busy", now: Self.start) == nil) }
        for number in 0..<10_000 {
            _ = limiter.take("other \(number)", now: Self.start)
            if number % 20 == 0 { #expect(limiter.take("busy", now: Self.start) != nil, "after \(number)") }
            #expect(limiter.count <= 101)
        }
    }

    @Test func `guesses at one account wait longer each time, and a success forgets them`() {
        let guesses = LoginGuard(perMinute: 3)
        var now = Self.start
        for _ in 0..<3 { #expect(guesses.begin("ada", now: now) == nil) }
        var waits: [Int] = []
        for _ in 0..<8 {
            let wait = guesses.begin("ada", now: now) ?? 0
            waits.append(wait)
            #expect(guesses.begin("ada", now: now) == wait, "a refused attempt changes nothing")
            now = now + .seconds(wait)
            #expect(guesses.begin("ada", now: now) == nil)
        }
        #expect(waits == [20, 40, 80, 160, 320, 640, 900, 900])
        #expect(guesses.begin("ben", now: now) == nil)
        #expect(guesses.succeeded("ada") == 10)
        #expect(guesses.begin("ada", now: now) == nil)
        #expect(LoginGuard(perMinute: 0).begin("ada") == nil)
    }

    @Test func `attempts on other names wash nobody's row away`() {
        let guesses = LoginGuard(perMinute: 3, capacity: 100)
        for _ in 0..<3 { _ = guesses.begin("ada", now: Self.start) }
        for number in 0..<10_000 {
            _ = guesses.begin("nobody \(number)", now: Self.start)
            #expect(guesses.count <= 100)
        }
        #expect(guesses.begin("ada", now: Self.start) != nil)
    }

    @Test func `a flood of refused logins leaves a few lines with its size`() {
        let guesses = LoginGuard(perMinute: 1000)
        var told: [Int] = []
        for _ in 0..<100 {
            _ = guesses.begin("ada", now: Self.start)
            if let count = guesses.refused("ada", isKnown: true, now: Self.start) { told.append(count) }
        }
        #expect(told == [1, 2, 4, 8, 16, 32, 64])
        let strangers = (0..<100).compactMap { number in
            guesses.refused("nobody \(number)", isKnown: false, now: Self.start + .seconds(7200))
        }
        #expect(strangers == told)
    }

    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "20:1:d:b8:0:1:0:2/64"), ("2001:db8:1:2::9", "20:1:d:b8:0:1:0:2/64"),
        ("2001:db8:1:3::9", "20:1:d:b8:0:1:0:3/64"), ("fe80::1%eth0", "fe:80:0:0:0:0:0:0/64"),
        ("nonsense", "?nonsense"),
        ("", "?"), ("999.1.1.1", "?999.1.1.1"),
    ])
    func `an address is limited with its network`(_ address: String, _ network: String) {
        #expect(ClientAddress.network(address) == network)
    }

    @Test(arguments: [
        ("192.0.2.7:80", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"), ("", ""),
    ])
    func `a port behind a forwarded address is no part of it`(_ text: String, _ address: String) {
        #expect(ClientAddress.withoutPort(text) == address)
    }

    @Test func `a range holds its addresses and no others`() throws {
        let cases: [(String, String, Bool)] = [
            ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.1", false),
            ("192.0.2.128/25", "192.0.2.200", true), ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.8", false), ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false), ("2001:db8::/32", "2001:db8:9::1", true),
            ("2001:db8::/32", "2001:db9::1", false), ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("10.0.0.0/8", "nonsense", false),
        ]
        for (range, address, isIn) in cases {
            let parsed = try #require(AddressRange(range))
            #expect(parsed.contains(address) == isIn, "\(address) in \(range)")
        }
        for text in ["", "nonsense", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "2001:db8::/129", "10.0.0/8"] {
            #expect(AddressRange(text) == nil, "\(text)")
        }
    }

    @Test func `a proxy that is no address is refused at the start`() {
        func problems(_ proxies: String) -> [String] {
            let variables = [
                "BGAGENT_POSTGRES_URL": "postgres://x@localhost/x", "BGAGENT_AMQP_URL": "amqp://x@localhost/x",
                "BGAGENT_TRUSTED_PROXIES": proxies,
            ]
            do throws(Environment.Unusable) {
                _ = try Environment.read(GatewayConfig.init, from: Environment(variables))
                return []
            } catch {
                return error.problems
            }
        }
        #expect(problems("10.0.0.0/8, ::1") == [])
        #expect(problems("10.0.0.0/8,proxy.local").contains { $0.contains("proxy.local") })
    }

    @Test func `addresses of one IPv6 network share a limit, also behind a proxy`() async throws {
        try await World.with({
            $0.addressRate = 3
            $0.trustedProxies = ["127.0.0.0/8"]
        }) { world async throws in
            func status(_ address: String) async throws -> Int {
                try await world.call("GET", "/v1/nothing", headers: ["X-Forwarded-For": address]).status
            }
            for last in ["1", "2", "3"] { #expect(try await status("2001:db8:1:2::\(last)") == 404) }
            #expect(try await status("2001:db8:1:2:ffff::9") == 429)
            #expect(try await status("2001:db8:1:3::1") == 404)
            #expect(try await status("203.0.113.9, 192.0.2.1:4711, 127.0.0.9") == 404)
        }
    }

    @Test func `more passwords than may wait are refused for a moment`() throws {
        let work = try PasswordWork(
            atOnce: 1, cost: PasswordHash.Cost(logN: 1), metrics: Metrics(), log: .silent)
        var accepted = 0
        var refusal: APIError?
        for _ in 0..<20 where refusal == nil {
            do {
                _ = try work.reply(Request(method: "POST", target: "/v1/login")) { .json([UInt8]()) }
                accepted += 1
            } catch let error as APIError {
                refusal = error
            }
        }
        #expect(accepted == 9)
        #expect(refusal?.status == 503)
        #expect(refusal?.headers["Retry-After"] != nil)
    }

    @Test(arguments: [
        ("short", "at least 12"), ("elevenchars", "at least 12"), ("aaaaaaaaaaaaaaaa", "so few characters"),
        ("ababababababab", "so few characters"), ("adaadaadaada123", "user's name"), ("ada-lovelace", "user's name"),
        ("Password1234!", "everybody"), ("!!!changeme!!!", "everybody"), ("CorrectHorseBatteryStaple", "everybody"),
        ("123456789012", "row of digits"), ("987654321098", "row of digits"),
        (String(repeating: "long words ", count: 100), "at most 1024 bytes"),
    ])
    func `a password that everybody would try is refused`(_ password: String, _ problem: String) {
        let user = password.hasPrefix("ada-") ? "ada-lovelace" : "ada"
        #expect(PasswordRules.problem(password, user: user)?.contains(problem) == true, "\(password)")
    }

    @Test(arguments: ["three green herons", "Kw8#mVq2!xTz", "žluťoučký kůň", "ada likes long walks", "314159265358"])
    func `a password of one's own is taken`(_ password: String) {
        #expect(PasswordRules.problem(password, user: "ada") == nil)
    }
}
