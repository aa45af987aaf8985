import ContainerEngine
import Domain
import Testing

@testable import EngineProxy

/// What needs no engine to be refused, because not every engine could do it.
@Suite struct ProxyRulesTests {
    private static let name = "bgagent-01ARZ3NDEKTSV4RRFFQ69G5FAV-1"
    private static let rules = ProxyRules(
        installation: "i", images: ["bgagent-agent", "registry:5000/agent", "other:1"], runtimes: ["runc"],
        gatewayLabels: ["a=b", "c=d=e"], subnets: nil, maxMemory: 1 << 30, maxCPUs: 2, maxPids: 1000)

    private static let labels: JSONValue = [
        SandboxNaming.installation: "i", SandboxNaming.session: .string(name), SandboxNaming.node: "n",
    ]

    private static let network: JSONValue = [
        "Name": .string(name), "Driver": "bridge", "Internal": true, "Labels": labels,
        "Options": [SandboxNaming.withoutHostAddress: "true"],
    ]

    @Test(
        arguments: [
            ("Driver", "macvlan"), ("Driver", "overlay"), ("EnableIPv6", true), ("Scope", "swarm"), ("Ingress", true),
            ("ConfigOnly", true), ("IPAM", ["Config": [["Subnet": "10.213.0.0/28"]]]),
        ] as [(String, JSONValue)])
    func `a network of another kind is refused`(field: String, value: JSONValue) throws {
        #expect(try Self.rules.checkNetwork(Self.network) == Self.name)
        let error = #expect(throws: Refusal.self) { try Self.rules.checkNetwork(Self.network.with([field], value)) }
        #expect(error?.reason.contains(field) == true)
    }

    @Test(arguments: [
        ("bgagent-agent", true), ("bgagent-agent:2", true), ("bgagent-agent:2@sha256:0", false),
        ("bgagent-agent@sha256:0", false), ("bgagent-agent2", false), ("x/bgagent-agent", false),
        ("registry:5000/agent", true), ("registry:5000/agent:x", true), ("registry", false),
        ("registry:5000/other", false),
        ("other:1", true), ("other:2", false), ("other", false), ("", false), ("bgagent-agent:", false),
    ]) func `an image is one of the list, in any tag where none is named`(image: String, isAllowed: Bool) {
        let body: JSONValue = ["Image": .string(image)]
        let error = #expect(throws: Refusal.self) { try Self.rules.checkContainer(body, name: Self.name) }
        // The next field is missing, so an image that passes is told of no more.
        #expect(error?.reason.hasPrefix("Image") == !isAllowed)
    }

    @Test func `an agent gateway bears all of its labels`() {
        #expect(Self.rules.isGateway(["a": "b", "c": "d=e", "x": "y"]))
        #expect(!Self.rules.isGateway(["a": "b"]))
        #expect(!Self.rules.isGateway(["a": "b", "c": "d"]))
        #expect(!Self.rules.isGateway([:]))
        #expect(!Self.rules.isGateway(nil))
    }
}
