import Config
import FoundationEssentials
import Telemetry
import Testing

@Suite struct EnvironmentTests {
    private enum Mode: String, CaseIterable {
        case fast, careful
    }

    @Test func `values are read in their types`() {
        var environment = Environment([
            "S": " text ", "I": "12", "D": "0.5", "B": "yes", "T": "1h30m", "U": "https://host/x", "P": "/a/b",
            "M": "careful", "L": "a, b,,c",
        ])
        #expect(environment.string("S", "s") == "text")
        #expect(environment.int("I", default: 1, in: 1...20, "i") == 12)
        #expect(environment.double("D", default: 1, in: 0...1, "d") == 0.5)
        #expect(environment.bool("B", default: false, "b") == true)
        #expect(environment.duration("T", default: .zero, "t") == .seconds(5400))
        #expect(environment.url("U", default: "http://d", "u") == "https://host/x")
        #expect(environment.path("P", default: "/", "p") == "/a/b")
        #expect(environment.choice("M", default: Mode.fast, "m") == .careful)
        #expect(environment.list("L", "l") == ["a", "b", "c"])
        #expect(environment.problems.isEmpty)
    }

    @Test func `what is not set, or empty, takes its default`() {
        var environment = Environment(["S": "", "O": "  "])
        #expect(environment.string("S", default: "d", "s") == "d")
        #expect(environment.optionalString("O", "o") == nil)
        #expect(environment.int("I", default: 3, "i") == 3)
        #expect(environment.duration("T", default: .seconds(60), "t") == .seconds(60))
        #expect(environment.choice("M", default: Mode.fast, "m") == .fast)
        #expect(environment.optionalSecret("X", "x") == nil)
        #expect(environment.optionalURL("Y", "y") == nil)
        #expect(environment.optionalPath("Z", "z") == nil)
        #expect(environment.optionalDouble("W", in: 0...1, "w") == nil)
        #expect(environment.problems.isEmpty)
    }

    @Test func `all errors come at once, each with what to do`() throws {
        let values = [
            "I": "many", "R": "99", "T": "5 parsecs", "U": "ftp://x", "P": "relative", "M": "slow", "B": "si",
        ]
        let error = #expect(throws: Environment.Unusable.self) {
            try Environment.read(
                { environment in
                    _ = environment.string("S", "who it is")
                    _ = environment.int("I", default: 0, "i")
                    _ = environment.int("R", default: 0, in: 0...10, "r")
                    _ = environment.duration("T", default: .zero, "t")
                    _ = environment.url("U", default: "http://d", "u")
                    _ = environment.path("P", default: "/", "p")
                    _ = environment.choice("M", default: Mode.fast, "m")
                    _ = environment.bool("B", default: true, "b")
                    _ = environment.secret("K", "the key")
                }, from: Environment(values))
        }
        let problems = try #require(error?.problems)
        #expect(
            problems == [
                "S is not set (who it is). Set it.",
                "I=many is not a whole number ≥ 0.",
                "R=99 is not a whole number 0…10.",
                "T=5 parsecs is not a duration; write 500ms, 30s, 5m, 1h30m, 2d or plain seconds.",
                "U=ftp://x is not an address of the form https://host or http://host.",
                "P=relative is not an absolute path (start it with / or ./).",
                "M=slow is not one of fast, careful.",
                "B=si is not true or false.",
                "K is not set (the key). Set it, or set K_FILE to a file that holds it.",
            ])
        #expect("\(try #require(error))".hasPrefix("9 settings need attention:\n  S is not set"))
    }

    @Test(arguments: [
        ("0", Duration.zero), ("90", .seconds(90)), ("1.5", .milliseconds(1500)), ("500ms", .milliseconds(500)),
        ("30s", .seconds(30)), ("5m", .seconds(300)), ("1h", .seconds(3600)), ("2d", .seconds(172_800)),
        ("1h30m", .seconds(5400)), ("1d1ms", .seconds(86_400) + .milliseconds(1)), ("10us", .microseconds(10)),
    ])
    func `durations are read as people write them`(text: String, duration: Duration) {
        #expect(DurationText.read(text) == duration)
        #expect(DurationText.read(DurationText.write(duration)) == duration)
    }

    @Test(arguments: [
        "", "s", "1 s", "-1s", "1x", "1m1h", "1s1s", "1.2.3", "99999999999999d", "1.5h", "1h2", "9e9", ".",
    ])
    func `what is no duration is refused`(text: String) {
        #expect(DurationText.read(text) == nil)
    }

    @Test func `a duration outside its range is refused`() {
        var environment = Environment(["T": "2h"])
        _ = environment.duration("T", default: .seconds(1), in: .seconds(1)...(.seconds(3600)), "t")
        #expect(environment.problems.count == 1 && environment.problems[0].contains("a duration 1s…1h"))
    }

    @Test(arguments: ["amqp://", "amqp:///vhost", "http://host", "amqp://ho st", "host"])
    func `an address without its parts is refused, and not shown when it may hold a password`(text: String) {
        var environment = Environment(["A": text])
        _ = environment.secretURL("A", schemes: ["amqp"], "a")
        #expect(environment.problems.count == 1)
        #expect(!environment.problems[0].contains("=" + text))
    }
}

@Suite struct SecretTests {
    /// A file of its own for one test, removed behind it.
    private func withFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appending(path: "secret-\(UUID().uuidString)")
        try Data(text.utf8).write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        return try body(path.path)
    }

    private func read(_ values: [String: String]) -> (secret: Secret, problems: [String]) {
        var environment = Environment(values)
        let secret = environment.secret("K", "the key")
        return (secret, environment.problems)
    }

    @Test func `a secret comes from its variable or from its file, without the newline`() throws {
        #expect(read(["K": "s3cret"]).secret.revealed == "s3cret")
        try withFile("fr0mfile\n") { path in
            let result = read(["K_FILE": path])
            #expect(result.secret.revealed == "fr0mfile" && result.problems.isEmpty)
        }
    }

    @Test func `an empty file, a missing file and two sources are each one error`() throws {
        try withFile(" \n") { path in
            #expect(read(["K_FILE": path]).problems == ["K_FILE=\(path) is empty. Write the secret into it."])
            #expect(
                read(["K": "a", "K_FILE": path]).problems == ["K and K_FILE are both set. Keep one of them."])
        }
        let missing = read(["K_FILE": "/nowhere/key"]).problems
        #expect(missing == ["K_FILE=/nowhere/key cannot be read. Check that it exists and who may read it."])
    }

    @Test func `an address with a password may come from a file too`() throws {
        try withFile("postgres://u:p@h/d\n") { path in
            var environment = Environment(["PG_FILE": path])
            let url = environment.secretURL("PG", schemes: ["postgres"], "pg")
            #expect(url.revealed == "postgres://u:p@h/d" && environment.problems.isEmpty)
        }
    }

    @Test func `nothing that prints a secret shows it`() {
        struct Holder {
            let key: Secret = "s3cret"
            let keys: [Secret] = ["s3cret"]
        }
        var dumped = ""
        dump(Holder(), to: &dumped)
        let secret: Secret = "s3cret"
        for text in ["\(secret)", String(reflecting: secret), "\(Holder())", dumped, String(reflecting: [secret])] {
            #expect(!text.contains("s3cret"))
        }
    }
}

@Suite struct ConfigurationTableTests {
    private struct Example {
        init(_ environment: inout Environment) {
            _ = environment.secret("KEY", "key of the | model")
            _ = environment.int("COUNT", default: 3, in: 1...9, "how many")
            _ = environment.optionalString("NOTE", "a note")
            _ = environment.duration("WAIT", default: .seconds(90), "how long")
            _ = environment.int("COUNT", default: 3, in: 1...9, "how many")
        }
    }

    @Test func `every variable that is read has one row`() {
        #expect(
            Environment.variables(of: Example.init).map(\.markdownRow) == [
                "| `KEY`, `KEY_FILE` | secret | required | key of the \\| model |",
                "| `COUNT` | integer 1…9 | `3` | how many |",
                "| `NOTE` | text | not set | a note |",
                "| `WAIT` | duration | `1m30s` | how long |",
            ])
    }

    @Test func `a process that is told wrong ends with 64`() async {
        await #expect(processExitsWith: .exitCode(64)) {
            _ = Environment.load { $0.string("BGAGENT_SURELY_NOT_SET", "x") }
        }
    }

    @Test func `what all services share has defaults but for the servers`() throws {
        let error = #expect(throws: Environment.Unusable.self) {
            try Environment.read({ ServiceConfig(&$0, name: "x") }, from: Environment([:]))
        }
        #expect(try #require(error).problems.count == 2)
        let config = try Environment.read(
            { ServiceConfig(&$0, name: "x") },
            from: Environment([
                "BGAGENT_POSTGRES_URL": "postgres:///db?host=/run", "BGAGENT_AMQP_URL": "amqp://h/v",
                "BGAGENT_LOG_LEVEL": "debug",
            ]))
        #expect(config.postgresURL.revealed == "postgres:///db?host=/run")
        #expect(config.healthHost == "127.0.0.1" && config.healthPort == 0)
        #expect(config.logLevel == .debug)
        let alone = try Environment.read(
            { ServiceConfig(&$0, name: "x", postgres: false, amqp: false) }, from: Environment([:]))
        #expect(alone.amqpURL.revealed.isEmpty)
    }
}
