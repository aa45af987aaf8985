import ContainerEngine
import Domain
import HTTPServer
import Lifecycle
import Telemetry
import TestSupport
import Testing

@testable import EngineProxy

/// The proxy in front of a corner of a real engine, and the documents that it lets through.
struct ProxyFixture: Sendable {
    let corner: TestEngine
    /// Through the proxy.
    let proxied: EngineClient
    /// Straight to the engine's socket.
    let engine: EngineClient
    let name: String
    let log: CapturingLog

    static func with(_ body: (ProxyFixture) async throws -> Void) async throws {
        try await TestEngine.with { corner in
            let log = CapturingLog()
            let proxy = EngineProxy(rules: rules(corner), engine: corner.client, log: log.logger)
            var config = ServerConfig(mode: .threadPerConnection)
            config.connectionLimit = 64
            let server = try Server(config, proxy.router, log: log.logger)
            try server.start()
            defer { server.stop() }
            let address = try #require(EngineAddress("http://127.0.0.1:\(server.port)"))
            try await body(
                ProxyFixture(
                    corner: corner, proxied: EngineClient(address, timeout: .seconds(60)), engine: corner.client,
                    name: TestEngine.sessionName(), log: log))
        }
    }

    static func rules(_ corner: TestEngine) -> ProxyRules {
        ProxyRules(
            installation: corner.installation, images: ["debian"], runtimes: ["runc"],
            gatewayLabels: [corner.gatewayLabel], subnets: SubnetRange("10.213.0.0/16"), maxMemory: 1 << 30, maxCPUs: 2,
            maxPids: 1000)
    }

    func labels(_ name: String) -> JSONValue {
        [
            SandboxNaming.installation: .string(corner.installation), SandboxNaming.session: .string(name),
            SandboxNaming.node: "n1",
        ]
    }

    var network: JSONValue {
        [
            "Name": .string(name), "Driver": "bridge", "Internal": true, "CheckDuplicate": true,
            "Options": [SandboxNaming.withoutHostAddress: "true"], "Labels": labels(name),
        ]
    }

    var volume: JSONValue {
        [
            "Name": .string(name), "Driver": "local", "Labels": labels(name),
            "DriverOpts": [:],
        ]
    }

    var container: JSONValue {
        let temporary = "rw,exec,nosuid,nodev,size=1048576,mode=1777"
        return [
            "Image": .string(TestEngine.image), "Cmd": ["sleep", "1000"], "User": "10001:10001",
            "WorkingDir": "/workspace", "Env": ["A=1"], "Labels": labels(name),
            "HostConfig": [
                "Memory": 67_108_864, "MemorySwap": 67_108_864, "NanoCpus": 1_000_000_000, "PidsLimit": 64,
                "ReadonlyRootfs": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "Init": true,
                "NetworkMode": .string(name), "Tmpfs": ["/tmp": .string(temporary), "/home/agent": .string(temporary)],
                "Mounts": [["Type": "volume", "Source": .string(name), "Target": "/workspace"]],
                "LogConfig": ["Type": "json-file", "Config": ["max-size": "1m", "max-file": "1"]],
            ],
        ]
    }

    /// Network and volume of `name`, as a container needs them.
    func prepare() throws {
        try proxied.call("POST", "/networks/create", body: network)
        try proxied.call("POST", "/volumes/create", body: volume)
    }

    @discardableResult
    func create(_ client: EngineClient, _ body: JSONValue) throws -> JSONValue {
        try client.call("POST", "/containers/create", query: [("name", name)], body: body)
    }

    /// What the proxy says to a call that it must refuse.
    func refusal(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSONValue? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> String {
        let error = #expect(throws: EngineError.self, sourceLocation: sourceLocation) {
            try proxied.call(method, path, query: query, body: body)
        }
        #expect(error?.code == .refused, "\(error?.description ?? "")", sourceLocation: sourceLocation)
        return error?.description ?? ""
    }
}

extension JSONValue {
    /// The document with the value at a path of names; nil takes it away.
    func with(_ path: [String], _ value: JSONValue?) -> JSONValue {
        guard let name = path.first, var members = object else { return self }
        members[name] = path.count == 1 ? value : (members[name] ?? [:]).with(Array(path.dropFirst()), value)
        return .object(members)
    }
}
