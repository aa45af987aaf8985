import ContainerEngine
import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Telemetry
import TestSupport
import Testing

@testable import EngineProxy

/// Whose things a call may be about, and which calls there are at all.
@Suite struct ProxyCallTests {
    @Test func `a stranger's container is neither read, started, ended nor removed, whatever its name`() async throws {
        try await ProxyFixture.with { fixture in
            // As a sandbox is named, with another installation's label.
            let body = fixture.container.with(["HostConfig"], ["Init": true])
                .with(["Labels", SandboxNaming.installation], "other")
            let id = try #require(try fixture.create(fixture.engine, body)["Id"]?.string)
            let paths: [(String, String, [(String, String)])] = [
                ("GET", "json", []), ("POST", "start", []), ("POST", "kill", [("signal", "SIGKILL")]),
                ("GET", "logs", [("stdout", "true")]), ("GET", "stats", [("stream", "false")]),
            ]
            for (method, verb, query) in paths {
                let said = fixture.refusal(method, "/containers/\(fixture.name)/\(verb)", query: query)
                #expect(said.contains("does not belong to this installation"))
                // By its id it is no sandbox at all.
                #expect(fixture.refusal(method, "/containers/\(id)/\(verb)", query: query).contains("must be the name"))
            }
            _ = fixture.refusal("DELETE", "/containers/\(fixture.name)", query: [("force", "true")])
            // Each of them works on the engine itself.
            try fixture.engine.call("POST", "/containers/\(id)/start")
            #expect(try fixture.engine.call("GET", "/containers/\(id)/json")["State"]?["Running"] == true)
            try fixture.engine.call("DELETE", "/containers/\(id)", query: [("force", "true")])
        }
    }

    @Test func `a stranger's network and volume are neither used nor removed`() async throws {
        try await ProxyFixture.with { fixture in
            try fixture.corner.startGateway()
            let label = ["Labels", SandboxNaming.installation]
            let network = fixture.network.with(label, "other").with(["Internal"], false)
            let id = try #require(try fixture.engine.call("POST", "/networks/create", body: network)["Id"]?.string)
            #expect(fixture.refusal("DELETE", "/networks/\(fixture.name)").contains("does not belong"))
            #expect(
                fixture.refusal("POST", "/containers/create", query: [("name", fixture.name)], body: fixture.container)
                    .contains("the network"))
            try fixture.engine.call("DELETE", "/networks/\(id)")
            // One with our labels that leads out does not do either.
            let open = try #require(
                try fixture.engine.call("POST", "/networks/create", body: fixture.network.with(["Internal"], false))[
                    "Id"]?
                    .string)
            #expect(
                fixture.refusal("POST", "/containers/create", query: [("name", fixture.name)], body: fixture.container)
                    .contains("leads out"))
            try fixture.engine.call("DELETE", "/networks/\(open)")
            try fixture.proxied.call("POST", "/networks/create", body: fixture.network)
            let bind: JSONValue = ["type": "none", "o": "bind", "device": "/etc"]
            try fixture.engine.call(
                "POST", "/volumes/create", body: fixture.volume.with(label, "other").with(["DriverOpts"], bind))
            #expect(fixture.refusal("DELETE", "/volumes/\(fixture.name)").contains("does not belong"))
            #expect(
                fixture.refusal("POST", "/containers/create", query: [("name", fixture.name)], body: fixture.container)
                    .contains("the volume"))
            // Where the engine would have given the host's files.
            let made = try fixture.create(fixture.engine, fixture.container)
            try fixture.engine.call("DELETE", "/containers/\(made["Id"]?.string ?? "")")
            try fixture.engine.call("DELETE", "/volumes/\(fixture.name)")
        }
    }

    @Test func `only an agent gateway joins a sandbox's network, and only a sandbox's`() async throws {
        try await ProxyFixture.with { fixture in
            try fixture.prepare()
            let gateway = try fixture.corner.startGateway()
            let other = try fixture.corner.run(["sleep", "1000"])
            let body = { (id: String) -> JSONValue in
                ["Container": .string(id), "EndpointConfig": ["Aliases": ["agent-gateway"]]]
            }
            let path = "/networks/\(fixture.name)/connect"
            #expect(fixture.refusal("POST", path, body: body(other)).contains("is not an agent gateway"))
            #expect(fixture.refusal("POST", path, body: body(String(gateway.prefix(12)))).contains("Container"))
            let named = body(gateway).with(["EndpointConfig", "Aliases"], ["postgres"])
            #expect(fixture.refusal("POST", path, body: named).contains("EndpointConfig"))
            #expect(fixture.refusal("POST", "/networks/bridge/connect", body: body(gateway)).contains("the network"))
            #expect(fixture.refusal("POST", "/networks/host/connect", body: body(gateway)).contains("the network"))
            // On the engine it works, and through the proxy for a gateway.
            try fixture.engine.call("POST", path, body: body(other))
            let leave: (String) -> JSONValue = { ["Container": .string($0), "Force": true] }
            let disconnect = "/networks/\(fixture.name)/disconnect"
            #expect(fixture.refusal("POST", disconnect, body: leave(other)).contains("is not an agent gateway"))
            try fixture.engine.call("POST", disconnect, body: leave(other))
            try fixture.proxied.call("POST", path, body: body(gateway))
            try fixture.proxied.call("POST", disconnect, body: leave(gateway))
        }
    }

    @Test func `of others no more is told than an adapter needs`() async throws {
        try await ProxyFixture.with { fixture in
            try fixture.prepare()
            try fixture.create(fixture.proxied, fixture.container.with(["Env"], ["BGAGENT_GIT_TOKEN=bgg_secret"]))
            let gateway = try fixture.corner.startGateway()
            let path = "/containers/\(fixture.name)/json"
            #expect(try fixture.engine.call("GET", path).text.contains("bgg_secret"))
            #expect(try !fixture.proxied.call("GET", path).text.contains("bgg_secret"))
            let gateways = try fixture.proxied.call(
                "GET", "/containers/json",
                query: [("all", "true"), SandboxNaming.filter(labels: [fixture.corner.gatewayLabel])])
            #expect(
                gateways == [
                    [
                        "Id": .string(gateway), "State": "running", "Labels": [:],
                        "NetworkSettings": ["Networks": ["bridge": [:]]],
                    ]
                ])
            for filters in [
                "{}", "{\"label\":[\"bgagent.role\"]}", "{\"name\":[\"x\"],\"label\":[]}", "x", "{\"label\":[1]}",
            ] {
                for path in ["/containers/json", "/networks", "/volumes"] {
                    #expect(fixture.refusal("GET", path, query: [("filters", filters)]).contains("filter"))
                }
            }
            #expect(fixture.refusal("GET", "/containers/json").contains("filters"))
        }
    }

    @Test(arguments: [
        ("GET", "/info"), ("GET", "/events"), ("GET", "/images/json"), ("POST", "/images/create"), ("POST", "/build"),
        ("POST", "/containers/NAME/exec"), ("POST", "/exec/x/start"), ("GET", "/containers/NAME/archive"),
        ("PUT", "/containers/NAME/archive"), ("GET", "/containers/NAME/export"), ("POST", "/containers/NAME/attach"),
        ("POST", "/containers/NAME/update"), ("POST", "/containers/NAME/rename"), ("POST", "/containers/prune"),
        ("POST", "/volumes/prune"), ("POST", "/networks/prune"), ("GET", "/networks/bridge"), ("POST", "/commit"),
        ("GET", "/plugins"), ("POST", "/swarm/init"), ("GET", "/secrets"), ("POST", "/auth"), ("POST", "/session"),
        ("GET", "/containers/NAME/top"), ("POST", "/containers/NAME/stop"), ("POST", "/containers/NAME/restart"),
        ("POST", "/containers/NAME/wait"), ("PUT", "/containers/NAME/json"), ("DELETE", "/images/debian"),
    ]) func `a call that the adapter does not make is not passed`(method: String, path: String) async throws {
        try await ProxyFixture.with { fixture in
            let named = path.split(separator: "NAME", omittingEmptySubsequences: false).joined(separator: fixture.name)
            #expect(fixture.refusal(method, named).contains("is not allowed"))
        }
    }

    @Test func `a query, a body or a version that does not belong is refused`() async throws {
        try await ProxyFixture.with { fixture in
            try fixture.prepare()
            try fixture.create(fixture.proxied, fixture.container)
            let path = "/containers/\(fixture.name)"
            #expect(fixture.refusal("POST", "\(path)/kill", query: [("signal", "SIGSTOP")]).contains("signal"))
            #expect(fixture.refusal("POST", "\(path)/kill").contains("signal"))
            #expect(fixture.refusal("POST", "\(path)/start", query: [("checkpoint", "x")]).contains("checkpoint"))
            #expect(fixture.refusal("POST", "\(path)/start", body: ["Privileged": true]).contains("no body"))
            #expect(fixture.refusal("DELETE", path, query: [("link", "true")]).contains("link"))
            #expect(fixture.refusal("GET", "\(path)/logs", query: [("follow", "true")]).contains("follow"))
            #expect(fixture.refusal("GET", "\(path)/stats", query: [("stream", "true")]).contains("stream"))
            let twice = [("name", fixture.name), ("name", "other")]
            #expect(
                fixture.refusal("POST", "/containers/create", query: twice, body: fixture.container).contains("name"))
            let platform = [("name", fixture.name), ("platform", "x")]
            #expect(
                fixture.refusal("POST", "/containers/create", query: platform, body: fixture.container).contains(
                    "platform"))
            for version in ["v1.24", "v1.99", "v2.0", "1.45", "v1"] {
                let (status, text) = try Self.send(fixture, "GET", "/\(version)\(path)/json")
                #expect(status == 403 && text.contains("engine proxy:"))
            }
        }
    }

    @Test func `one reading of a body is the only one`() async throws {
        try await ProxyFixture.with { fixture in
            try fixture.prepare()
            let good = fixture.container.text.dropLast()
            let target = "/v1.45/containers/create?name=\(fixture.name)"
            // The engine knows names in any case, and merges what stands twice.
            let other = "{\"Binds\":[\"/etc:/host\"],\"Privileged\":true}"
            for body in ["\(good),\"hostconfig\":\(other)}", "\(good),\"HOSTCONFIG\":\(other)}"] {
                let (status, text) = try Self.send(fixture, "POST", target, body)
                #expect(status == 403 && text.contains("is not allowed"))
            }
            let (status, _) = try Self.send(fixture, "POST", target, "\(good),\"HostConfig\":\(other)}")
            if status == 201 {
                let made = try fixture.engine.call("GET", "/containers/\(fixture.name)/json")["HostConfig"]
                #expect(made?["Privileged"] == false && made?["Binds"]?.array ?? [] == [])
            } else {
                #expect(status == 403)
            }
            for body in ["", "null", "[]", "x", "{}", "{\"Image\":"] {
                #expect(try Self.send(fixture, "POST", target, body).0 == 403)
            }
            #expect(try Self.send(fixture, "POST", target, String(repeating: " ", count: 2 << 20)).0 == 413)
        }
    }

    @Test func `an engine that is away is told as such`() async throws {
        try await TestEngine.with { corner in
            let nobody = EngineClient(try #require(EngineAddress("unix:///nonexistent/engine.sock")))
            let proxy = EngineProxy(rules: ProxyFixture.rules(corner), engine: nobody, log: .silent)
            guard case .response(let response) = proxy.router.reply(to: .init(method: "GET", target: "/version")) else {
                Issue.record("no response")
                return
            }
            #expect(response.status == 502)
            #expect(String(decoding: response.body, as: UTF8.self).contains("cannot be reached"))
        }
    }

    /// A request as it stands, past all that a client would put right.
    private static func send(
        _ fixture: ProxyFixture, _ method: String, _ target: String, _ body: String = ""
    ) throws -> (Int, String) {
        let response = try HTTPClient().sendBlocking(
            ClientRequest(method: method, url: fixture.proxied.address.base + target, body: Array(body.utf8)))
        return (response.status, response.text)
    }
}
