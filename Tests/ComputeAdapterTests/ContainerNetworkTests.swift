import ContainerEngine
import Domain
import FoundationEssentials
import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry
import TestSupport
import Testing

@testable import ComputeAdapter

/// What a sandbox reaches, and what it does not. Each target is first shown to answer where nothing is in its way.
@Suite struct ContainerNetworkTests {
    /// Asks again and again, one line each.
    private static func watch(_ host: String) -> String { "while :; do \(TestEngine.ask(host)); sleep 0.1; done" }

    @Test(arguments: EngineWay.tested)
    func `only the agent gateway answers a sandbox`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            let corner = fixture.corner
            let other = try corner.run(TestEngine.listener(saying: "other"))
            let address = try corner.address(other)
            // Seen from a container on the same, ordinary network.
            let witness = try corner.run(["bash", "-c", Self.watch(address)])
            try await eventually("the target answers others", within: ContainerFixture.patience) {
                try corner.output(witness).contains("other\n")
            }
            let ended = try await fixture.run(
                "\(TestEngine.ask("agent-gateway")); \(TestEngine.ask(address)); cat /proc/net/route | wc -l")
            let lines = ended.output.split(separator: "\n").map(String.init)
            #expect(lines.prefix(2) == ["gateway", "silence"])
        }
    }

    @Test(arguments: EngineWay.tested)
    func `the host does not answer a sandbox, at any of its addresses`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            let corner = fixture.corner
            // An internal network alone does not keep the host away: seen from one that has no more than that.
            let network = try corner.makeNetwork(["Driver": "bridge", "Internal": true])
            let host = try Self.gateway(network, corner)
            var router = Router()
            router.on("GET", "/") { _ in .response(.text("host\n")) }
            let server = try Server(ServerConfig(host: host), router, log: .silent)
            try server.start()
            let ask =
                "{ timeout 3 bash -c 'exec 3<>/dev/tcp/\(host)/\(server.port); printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; "
                + "cat <&3' 2>/dev/null | tail -1 | grep . || echo silence; }"
            let witness = try corner.run(["bash", "-c", "while :; do \(ask); sleep 0.1; done"], network: network)
            try await eventually("the host answers others", within: ContainerFixture.patience) {
                try corner.output(witness).contains("host\n")
            }
            let (backend, name) = (fixture.backend("\(ask); echo end; sleep 1000"), TestEngine.sessionName())
            try backend.start(fixture.spec(name))
            try await eventually("the sandbox has asked", within: ContainerFixture.patience) {
                backend.logTail(name, bytes: 100) == "silence\nend\n"
            }
            // And on the sandbox's own network there is no address of the host to ask.
            let own = try Self.gateway(name, corner)
            #expect(throws: ServerError.self) { try Server(ServerConfig(host: own), router, log: .silent) }
            try backend.kill(name)
            try backend.remove(name)
            server.stop()
        }
    }

    /// The address that a network's bridge has on the host, or would have.
    private static func gateway(_ network: String, _ corner: TestEngine) throws -> String {
        let config = try corner.client.call("GET", "/networks/\(network)")["IPAM"]?["Config"]?.array?.first
        if let gateway = config?["Gateway"]?.string { return gateway }
        let subnet = try #require(config?["Subnet"]?.string)
        let address = subnet.split(separator: "/")[0].split(separator: ".").map(String.init)
        return (address.dropLast() + ["1"]).joined(separator: ".")
    }

    @Test(arguments: EngineWay.tested)
    func `another task's sandbox does not answer`(way: EngineWay) async throws {
        try await ContainerFixture.with(way) { fixture in
            let corner = fixture.corner
            let (first, name) = (
                fixture.backend("") { $0.command = TestEngine.listener(saying: "first") }, TestEngine.sessionName()
            )
            try first.start(fixture.spec(name))
            let address = try corner.address(name, network: name)
            let witness = try corner.run(["bash", "-c", Self.watch(address)], network: name)
            try await eventually("it answers on its own network", within: ContainerFixture.patience) {
                try corner.output(witness).contains("first\n")
            }
            let second = try await fixture.run(
                "\(TestEngine.ask("agent-gateway")); \(TestEngine.ask(address)); \(TestEngine.ask(name))")
            #expect(second.output == "gateway\nsilence\nsilence\n")
            try corner.client.call("DELETE", "/containers/\(witness)", query: [("force", "true")])
            try first.kill(name)
            try first.remove(name)
            #expect(try corner.remains() == [])
        }
    }

    @Test func `a gateway that was made anew joins the sandboxes again, and one that is down does not keep a network`()
        async throws
    {
        try await ContainerFixture.with(.proxy, gateway: false) { fixture in
            let corner = fixture.corner
            let gateway = try corner.startGateway()
            let backend = fixture.backend(Self.watch("agent-gateway"))
            let name = TestEngine.sessionName()
            try backend.start(fixture.spec(name))
            let says = { (word: String) in backend.logTail(name, bytes: 30).hasSuffix("\(word)\n") }
            try await eventually("the gateway answers", within: ContainerFixture.patience) { says("gateway") }
            try corner.client.call("DELETE", "/containers/\(gateway)", query: [("force", "true")])
            try await eventually("nobody answers", within: ContainerFixture.patience) { says("silence") }
            let next = try corner.startGateway()
            try backend.mend()
            try backend.mend()
            try await eventually("the new gateway answers", within: ContainerFixture.patience) { says("gateway") }
            // One that is stopped while its networks go must be able to start again.
            try corner.client.call("POST", "/containers/\(next)/kill")
            try backend.kill(name)
            try backend.remove(name)
            #expect(try corner.remains() == [])
            try corner.client.call("POST", "/containers/\(next)/start")
        }
    }

    @Test func `networks are carved from the range that is set, until it is used up`() async throws {
        try await ContainerFixture.with(.proxy) { fixture in
            fixture.proxy?.end()
            let text = "100.\(Int.random(in: 64...127)).\(Int.random(in: 0...255)).\(Int.random(in: 0...15) * 16)/28"
            let range = try #require(SubnetRange(text))
            let proxy = try ProxyProcess(fixture.corner, environment: ["BGAGENT_AGENT_SUBNETS": text])
            defer { proxy.end() }
            try await proxy.begin()
            let backend = fixture.backend("sleep 1000") {
                $0.engine = EngineAddress(proxy.url) ?? $0.engine
                $0.subnets = range
            }
            let name = TestEngine.sessionName()
            try backend.start(fixture.spec(name))
            let network = try fixture.corner.client.call("GET", "/networks/\(name)")
            #expect(network["IPAM"]?["Config"]?.array?.first?["Subnet"]?.string == text)
            let error = #expect(throws: SandboxError.self) { try backend.start(fixture.spec(TestEngine.sessionName())) }
            #expect(error?.reason.contains("has no room for one more network") == true)
            try backend.kill(name)
            try backend.remove(name)
            let next = TestEngine.sessionName()
            try backend.start(fixture.spec(next))
            try backend.kill(next)
            try backend.remove(next)
        }
    }
}
