import FoundationEssentials
import Glibc
import HTTPTypes
import Testing

@testable import CLI

/// A folder that is gone with the test.
final class ScratchFolder {
    let path: String

    init() throws {
        var name = Array("/tmp/bgagent-cli-XXXXXX\0".utf8CString)
        guard mkdtemp(&name) != nil else { throw UserError("no scratch folder") }
        path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func mode(_ name: String) -> mode_t {
        var facts = stat()
        return stat(name.isEmpty ? path : path + "/" + name, &facts) == 0 ? facts.st_mode & 0o777 : 0
    }

    func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path + "/" + name)), as: UTF8.self)
    }
}

@Suite struct SettingsTests {
    private let scratch: ScratchFolder
    private var home: String { scratch.path + "/bgagent" }

    init() throws { scratch = try ScratchFolder() }

    private static let me: @Sendable (ScriptedServer.Request) -> ScriptedServer.Answer = { request in
        request.headers["Authorization"] == "Bearer good-token"
            ? .json(200, #"{"data":{"user_id":"u1","name":"ada","role":"admin"}}"#)
            : .json(401, #"{"error":{"code":"UNAUTHORIZED","message":"unknown token","request_id":"r1"}}"#)
    }

    private func session(stdin: String? = "", secret: String? = nil, more: [String: String] = [:]) -> Session {
        Session(
            environment: ["BGAGENT_CONFIG_DIR": home].merging(more) { $1 }, stdin: stdin, secret: secret)
    }

    @Test func `configure reads a token file and saves for the owner alone`() async throws {
        let server = try ScriptedServer(Self.me)
        try Data("good-token\n".utf8).write(to: URL(filePath: scratch.path + "/admin-token"))
        let outcome = await session().run(
            "configure", "--api-url", server.url + "/v1/", "--token-file", scratch.path + "/admin-token")
        #expect(outcome.code == .success, "\(outcome.errors)")
        #expect(outcome.output == "Saved profile 'default' for \(server.url) in \(home)\nYou are ada (admin).\n")
        #expect(!(outcome.output + outcome.errors).contains("good-token"))
        #expect(scratch.mode("bgagent") == 0o700)
        #expect(scratch.mode("bgagent/config.json") == 0o600)
        #expect(scratch.mode("bgagent/credentials.json") == 0o600)
        #expect(try !scratch.text("bgagent/config.json").contains("good-token"))
        let whoami = await session().run("whoami", "--verbose")
        #expect(whoami.code == .success)
        #expect(whoami.output.contains("ada"))
        #expect(!(whoami.output + whoami.errors).contains("good-token"))
    }

    @Test func `the token comes from a pipe or is asked for without echo`() async throws {
        let server = try ScriptedServer(Self.me)
        let piped = await session(stdin: " good-token \nrest").run("configure", "--api-url", server.url)
        #expect(piped.code == .success, "\(piped.errors)")
        let typed = await session(stdin: nil, secret: "good-token").run("configure", "--api-url", server.url)
        #expect(typed.code == .success, "\(typed.errors)")
        let kept = await session(stdin: nil, secret: "").run("configure")
        #expect(kept.code == .success, "\(kept.errors)")
        let shown = await session().run("configure", "--token", "good-token")
        #expect(shown.code == .success)
        #expect(shown.errors.contains("can see arguments"))
    }

    @Test func `a token that the gateway refuses is not saved`() async throws {
        let server = try ScriptedServer(Self.me)
        let outcome = await session(stdin: "bad-token").run("configure", "--api-url", server.url)
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("nothing is saved"))
        #expect(scratch.mode("bgagent/credentials.json") == 0)
    }

    @Test func `an address whose gateway is down is saved with a warning`() async throws {
        let server = try ScriptedServer(Self.me)
        server.stop()
        let outcome = await session(stdin: "good-token").run("configure", "--api-url", server.url)
        #expect(outcome.code == .success)
        #expect(outcome.errors.contains("warning: \(server.url) does not answer (connection refused)"))
        #expect(scratch.mode("bgagent/credentials.json") == 0o600)
    }

    @Test(
        arguments: [
            ("bgagent", 0o750, "chmod 700"), ("bgagent/credentials.json", 0o640, "chmod 600"),
            ("bgagent/config.json", 0o604, "chmod 600"),
        ] as [(String, mode_t, String)])
    func `loose permissions are refused with the command that mends them`(
        name: String, mode: mode_t, mend: String
    ) async throws {
        let server = try ScriptedServer(Self.me)
        _ = await session(stdin: "good-token").run("configure", "--api-url", server.url)
        chmod(scratch.path + "/" + name, mode)
        let outcome = await session().run("whoami")
        #expect(outcome.code == .failure)
        #expect(outcome.errors.contains("is open to other users (mode \(String(mode, radix: 8)))"))
        #expect(outcome.errors.contains("\(mend) \(scratch.path)/\(name)"))
        #expect(server.requests.count == 1)
    }

    @Test func `profiles live side by side`() async throws {
        let server = try ScriptedServer(Self.me)
        _ = await session(stdin: "good-token").run("configure", "--api-url", server.url, "--profile", "work")
        _ = await session(stdin: "x").run(
            "configure", "--api-url", "http://127.0.0.1:1", "--profile", "home", "--no-check")
        let first = await session().run("whoami", "-o", "json")
        #expect(first.code == .success, "the first profile is the default")
        let named = await session(more: ["BGAGENT_PROFILE": "work"]).run("whoami")
        #expect(named.output.contains("work"))
        let unknown = await session().run("whoami", "--profile", "nowhere")
        #expect(unknown.errors.contains("no gateway is configured for profile 'nowhere'"))
        #expect(unknown.errors.contains("Saved profiles: home, work."))
    }

    @Test func `the environment stands above what is saved but sends no saved token elsewhere`() async throws {
        let server = try ScriptedServer(Self.me)
        let other = try ScriptedServer(Self.me)
        _ = await session(stdin: "good-token").run("configure", "--api-url", server.url)
        let moved = await session(more: ["BGAGENT_API_URL": other.url]).run("whoami")
        #expect(moved.code == .failure)
        #expect(moved.errors.contains("whose token would go there"))
        #expect(other.requests.isEmpty)
        let both = ["BGAGENT_API_URL": other.url, "BGAGENT_TOKEN": "good-token"]
        #expect(await session(more: both).run("whoami").code == .success)
        #expect(await session(more: ["BGAGENT_TOKEN": "bad"]).run("whoami").errors.contains("unknown token"))
    }

    @Test(arguments: ["ftp://x", "localhost:8080", "http://", "http://user:pw@host", "http://h?x", "http://h h", ""])
    func `what is no address is refused`(address: String) {
        #expect(throws: UserError.self) { try Account.address(address) }
    }

    @Test(arguments: [
        ("http://127.0.0.1:8080", false), ("http://localhost", false), ("https://agents.example", false),
        ("http://agents.example", true), ("http://10.0.0.1:8080", true),
    ])
    func `a token in the clear is warned of`(address: String, isExposed: Bool) {
        #expect(Account(profile: "p", apiURL: address, token: "t").isExposed == isExposed)
    }

    @Test(arguments: ["", " ", "a b", "a\nb", "tökén", "a\u{1B}"])
    func `what is no token is refused`(token: String) {
        #expect(throws: UserError.self) { try Account.checked(token) }
    }
}
