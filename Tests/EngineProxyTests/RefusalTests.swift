import ContainerEngine
import Domain
import HTTPClient
import TestSupport
import Testing

@testable import EngineProxy

/// One thing that the engine would do and the proxy does not.
struct Temptation: Sendable, CustomTestStringConvertible {
    let what: String
    let path: [String]
    let value: JSONValue?
    /// What the refusal names.
    let named: String
    /// What the engine would not take beside it.
    let without: [String]?

    init(_ what: String, _ path: String, _ value: JSONValue?, named: String? = nil, without: [String]? = nil) {
        self.what = what
        self.path = path.split(separator: "/").map(String.init)
        self.value = value
        self.without = without
        self.named = named ?? path.split(separator: "/").joined(separator: ".")
    }

    var testDescription: String { what }
}

/// Each is first done on the real engine, where it works, and then refused by the proxy in front of the same engine.
@Suite struct RefusalTests {
    static let containers: [Temptation] = [
        Temptation("a directory of the host", "HostConfig/Binds", ["/etc:/host:ro"]),
        Temptation(
            "a directory of the host as a mount", "HostConfig/Mounts",
            [["Type": "bind", "Source": "/etc", "Target": "/workspace"]], named: "HostConfig.Mounts.Type"),
        Temptation(
            "a second mount", "HostConfig/Mounts",
            [
                ["Type": "bind", "Source": "/etc", "Target": "/host"],
                ["Type": "tmpfs", "Target": "/workspace"],
            ], named: "HostConfig.Mounts"),
        Temptation("another's volumes", "HostConfig/VolumesFrom", ["OTHER"]),
        Temptation("privileged", "HostConfig/Privileged", true),
        Temptation("the host's network", "HostConfig/NetworkMode", "host"),
        Temptation("an ordinary network", "HostConfig/NetworkMode", "bridge"),
        Temptation("another's network", "HostConfig/NetworkMode", "container:OTHER"),
        Temptation("the host's processes", "HostConfig/PidMode", "host"),
        Temptation("the host's shared memory", "HostConfig/IpcMode", "host"),
        Temptation("the host's name", "HostConfig/UTSMode", "host"),
        Temptation("the host's user ids", "HostConfig/UsernsMode", "host"),
        Temptation("the host's control groups", "HostConfig/CgroupnsMode", "host"),
        Temptation("a control group of its own choice", "HostConfig/CgroupParent", "/other"),
        Temptation(
            "a device", "HostConfig/Devices",
            [["PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"]]),
        Temptation("rules for devices", "HostConfig/DeviceCgroupRules", ["c 1:3 rwm"]),
        Temptation("a capability", "HostConfig/CapAdd", ["SYS_ADMIN"]),
        Temptation("capabilities kept", "HostConfig/CapDrop", []),
        Temptation("a kernel setting", "HostConfig/Sysctls", ["net.ipv4.ip_forward": "1"]),
        Temptation("no filter of system calls", "HostConfig/SecurityOpt", ["no-new-privileges", "seccomp=unconfined"]),
        Temptation("new privileges", "HostConfig/SecurityOpt", []),
        Temptation("system paths unmasked", "HostConfig/MaskedPaths", []),
        Temptation("a writable root", "HostConfig/ReadonlyRootfs", false),
        Temptation("another runtime", "HostConfig/Runtime", "runsc"),
        Temptation("a published port", "HostConfig/PortBindings", ["80/tcp": [["HostPort": "0"]]]),
        Temptation("a name of the host's choice", "HostConfig/ExtraHosts", ["x:1.1.1.1"]),
        Temptation("another name server", "HostConfig/Dns", ["1.1.1.1"]),
        Temptation("another group", "HostConfig/GroupAdd", ["0"]),
        Temptation("a restart by the engine", "HostConfig/RestartPolicy", ["Name": "always"]),
        Temptation("no limit of memory", "HostConfig/Memory", nil, without: ["HostConfig", "MemorySwap"]),
        Temptation("too much memory", "HostConfig/Memory", 2_147_483_648, without: ["HostConfig", "MemorySwap"]),
        Temptation("as much swap as memory", "HostConfig/MemorySwap", nil),
        Temptation("swap", "HostConfig/MemorySwap", -1),
        Temptation("no limit of processors", "HostConfig/NanoCpus", nil),
        Temptation("no limit of processes", "HostConfig/PidsLimit", nil),
        Temptation("unlimited processes", "HostConfig/PidsLimit", -1),
        Temptation(
            "logs without an end", "HostConfig/LogConfig", ["Type": "json-file", "Config": [:]], named: "max-size"),
        Temptation(
            "logs to somebody else", "HostConfig/LogConfig",
            ["Type": "syslog", "Config": ["syslog-address": "udp://127.0.0.1:1"]], named: "LogConfig.Type"),
        Temptation(
            "a set-uid file system", "HostConfig/Tmpfs", ["/tmp": "rw,exec,suid,dev,size=1m"],
            named: "HostConfig.Tmpfs./tmp"),
        Temptation(
            "another place for files", "HostConfig/Tmpfs",
            [
                "/tmp": "rw,nosuid,nodev,size=1m", "/home/agent": "rw,nosuid,nodev,size=1m",
                "/usr/local/bin": "rw,nosuid,nodev,size=1m",
            ], named: "HostConfig.Tmpfs./usr/local/bin"),
        Temptation("root", "User", "0:0"),
        Temptation("a user by name", "User", "root"),
        Temptation("the group of root", "User", "10001:0"),
        Temptation("no user", "User", nil),
        Temptation("another image", "Image", "OTHER-IMAGE"),
        Temptation("another directory", "WorkingDir", "/etc"),
        Temptation("another program before the image's", "Entrypoint", ["sh"]),
        Temptation("volumes of the engine's making", "Volumes", ["/data": [:]]),
        Temptation("a health check, which runs as it likes", "Healthcheck", ["Test": ["CMD", "true"]]),
        Temptation("another installation's label", "Labels/bgagent.installation", "other"),
        Temptation("another session's label", "Labels/bgagent.session", "other"),
        Temptation("a label more", "Labels/other", "x"),
        Temptation("an address of its own choice", "NetworkingConfig", ["EndpointsConfig": [:]]),
    ]

    @Test(arguments: containers)
    func `a container with more than an agent's needs is not made`(temptation: Temptation) async throws {
        try await ProxyFixture.with { fixture in
            try fixture.prepare()
            let value = try Self.resolved(temptation.value, fixture)
            var body = fixture.container.with(temptation.path, value)
            if let path = temptation.without { body = body.with(path, nil) }
            // The engine does it.
            let id = try #require(try fixture.create(fixture.engine, body)["Id"]?.string)
            try fixture.engine.call("DELETE", "/containers/\(id)", query: [("v", "true")])
            // The proxy does not, and the same without it is passed.
            let said = fixture.refusal(
                "POST", "/containers/create", query: [("name", fixture.name)], body: body)
            #expect(said.contains(temptation.named), "\(said)")
            #expect(fixture.log.contains("refused"))
            try fixture.create(fixture.proxied, fixture.container)
            if temptation.value?.string == "OTHER-IMAGE" {
                try fixture.engine.call("DELETE", "/images/\(value?.string ?? "")")
            }
        }
    }

    /// Puts a container or an image that is there in the place of a placeholder.
    private static func resolved(_ value: JSONValue?, _ fixture: ProxyFixture) throws -> JSONValue? {
        if value == "container:OTHER" { return .string("container:\(try fixture.corner.run(["sleep", "1000"]))") }
        if value == ["OTHER"] { return [.string(try fixture.corner.run(["sleep", "1000"]))] }
        if value == "OTHER-IMAGE" {
            let tag = [("repo", fixture.corner.installation), ("tag", "x")]
            try fixture.engine.call("POST", "/images/\(TestEngine.image)/tag", query: tag)
            return .string("\(fixture.corner.installation):x")
        }
        return value
    }

    static let networks: [Temptation] = [
        Temptation("a network that leads out", "Internal", false),
        Temptation("a network with the host on it", "Options", [:]),
        Temptation(
            "a bridge of the host's", "Options",
            ["com.docker.network.bridge.inhibit_ipv4": "true", "com.docker.network.bridge.name": "bga-x"],
            named: "Options"),
        Temptation("a network that others may join", "Attachable", true),
        Temptation(
            "addresses of somebody else's", "IPAM", ["Config": [["Subnet": "10.214.P.0/28"]]],
            named: "IPAM.Config.Subnet"),
        Temptation(
            "a gateway of its own choice", "IPAM",
            ["Config": [["Subnet": "10.213.P.0/28", "Gateway": "10.213.P.5"]]], named: "IPAM.Config.Gateway"),
        Temptation("another name", "Name", "other", named: "Name"),
        Temptation("another installation's label", "Labels/bgagent.installation", "other"),
    ]

    @Test(arguments: networks)
    func `a network that is no sandbox's is not made`(temptation: Temptation) async throws {
        try await ProxyFixture.with { fixture in
            var value = temptation.value
            if value == "other" { value = .string("other-\(fixture.corner.installation)") }
            // Addresses that no other test takes.
            let part = String(Int.random(in: 1...255))
            let text = value?.text.split(separator: "P", omittingEmptySubsequences: false).joined(separator: part)
            if temptation.path == ["IPAM"], let text { value = try JSONText.decode(JSONValue.self, text) }
            let body = fixture.network.with(temptation.path, value)
            let id = try #require(try fixture.engine.call("POST", "/networks/create", body: body)["Id"]?.string)
            try fixture.engine.call("DELETE", "/networks/\(id)")
            let said = fixture.refusal("POST", "/networks/create", body: body)
            #expect(said.contains(temptation.named), "\(said)")
            try fixture.proxied.call("POST", "/networks/create", body: fixture.network)
        }
    }

    static let volumes: [Temptation] = [
        Temptation(
            "a directory of the host", "DriverOpts", ["type": "none", "o": "bind", "device": "/etc"],
            named: "DriverOpts."),
        Temptation(
            "a disk of the host", "DriverOpts", ["type": "ext4", "device": "/dev/vda"], named: "DriverOpts."),
        Temptation(
            "memory without an end", "DriverOpts", ["type": "tmpfs", "device": "tmpfs"], named: "DriverOpts."),
        Temptation("another name", "Name", "other", named: "Name"),
        Temptation("another installation's label", "Labels/bgagent.installation", "other"),
    ]

    @Test(arguments: volumes)
    func `a volume that is no sandbox's is not made`(temptation: Temptation) async throws {
        try await ProxyFixture.with { fixture in
            var value = temptation.value
            if value == "other" { value = .string("other-\(fixture.corner.installation)") }
            let body = fixture.volume.with(temptation.path, value)
            let made = try fixture.engine.call("POST", "/volumes/create", body: body)
            try fixture.engine.call("DELETE", "/volumes/\(made["Name"]?.string ?? "")")
            let said = fixture.refusal("POST", "/volumes/create", body: body)
            #expect(said.contains(temptation.named), "\(said)")
            try fixture.proxied.call("POST", "/volumes/create", body: fixture.volume)
        }
    }
}
