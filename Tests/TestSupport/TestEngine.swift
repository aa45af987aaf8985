import ContainerEngine
import Domain
import FoundationEssentials
import Glibc

/// A corner of a real container engine that a test has to itself: its own installation label, its own agent gateway.
package final class TestEngine: Sendable {
    /// There is no engine to test with.
    package struct Missing: Error, CustomStringConvertible {
        package let description =
            "BGAGENT_TEST_ENGINE_URL is not set. Run scripts/engine start and scripts/engine images, and then "
            + "eval \"$(scripts/engine env)\"."
    }

    /// The image of every container in tests.
    package static let image = "debian:bookworm-slim"
    /// The port on which gateways and other listeners of tests answer.
    package static let port = 8081

    package let url: String
    package let client: EngineClient
    /// Label of everything that the code under test makes.
    package let installation: String
    /// Label of the gateways of this corner.
    package let gatewayLabel: String
    private let ownLabel: String

    private init(url: String) throws {
        guard let address = EngineAddress(url) else { throw Missing() }
        self.url = url
        client = EngineClient(address, timeout: .seconds(180))
        let id = UUID().uuidString.lowercased()
        (installation, gatewayLabel, ownLabel) = ("test-\(id)", "bgagent.role=gateway-\(id)", "bgagent.test=\(id)")
    }

    /// Runs `body`; afterwards everything of the corner is gone.
    ///
    /// - Throws: `Missing` where no engine is named.
    package static func with<Result>(
        url variable: String = "BGAGENT_TEST_ENGINE_URL", isolation: isolated (any Actor)? = #isolation,
        _ body: (TestEngine) async throws -> Result
    ) async throws -> Result {
        guard let url = getenv(variable).map({ String(cString: $0) }), !url.isEmpty else { throw Missing() }
        let corner = try TestEngine(url: url)
        do {
            let result = try await body(corner)
            try corner.clear()
            return result
        } catch {
            try? corner.clear()
            throw error
        }
    }

    /// True for podman's compatible socket, which leaves the host's address on every network and does not tell that
    /// memory was too little.
    package var isPodman: Bool {
        get throws { try client.about()["Components"]?.array?.first?["Name"]?.string?.hasPrefix("Podman") == true }
    }

    /// A name as sessions have it.
    package static func sessionName() -> String { "bgagent-\(UUID().uuidString)-1" }

    /// A container of the test's own, started: for gateways, and for what sandboxes must not reach.
    ///
    /// - Returns: its id.
    @discardableResult
    package func run(
        _ command: [String], labels: [String: String] = [:], network: String? = nil, user: String = "0"
    ) throws -> String {
        let own = ownLabel.split(separator: "=").map(String.init)
        var host: [String: JSONValue] = ["Init": true]
        if let network { host["NetworkMode"] = .string(network) }
        let body: JSONValue = [
            "Image": .string(Self.image), "Cmd": .array(command.map { .string($0) }), "User": .string(user),
            "Labels": .object(labels.merging([own[0]: own[1]]) { old, _ in old }.mapValues { .string($0) }),
            "HostConfig": .object(host),
        ]
        let name = ("name", "bgagent-test-\(UUID().uuidString.lowercased())")
        guard let id = try client.call("POST", "/containers/create", query: [name], body: body)["Id"]?.string else {
            throw EngineError(.other, "no id")
        }
        try client.call("POST", "/containers/\(id)/start")
        return id
    }

    /// A network of the test's own; gives its name.
    package func makeNetwork(_ options: [String: JSONValue]) throws -> String {
        let own = ownLabel.split(separator: "=").map(String.init)
        let name = "bgagent-test-\(UUID().uuidString.lowercased())"
        var body = options
        body["Name"] = .string(name)
        body["Labels"] = [own[0]: .string(own[1])]
        try client.call("POST", "/networks/create", body: .object(body))
        return name
    }

    /// An agent gateway of this corner: says `gateway` to whoever connects.
    @discardableResult
    package func startGateway() throws -> String {
        let sides = gatewayLabel.split(separator: "=").map(String.init)
        return try run(Self.listener(saying: "gateway"), labels: [sides[0]: sides[1]])
    }

    /// A command that answers every connection on `port` with a word.
    package static func listener(saying word: String) -> [String] {
        let program = """
            $s = IO::Socket::INET->new(LocalPort => \(port), Listen => 50, ReuseAddr => 1) or die $!;
            while (1) { $c = $s->accept or next; print $c "\(word)\\n"; close $c }
            """
        return ["perl", "-MIO::Socket::INET", "-e", program]
    }

    /// Shell words that print what answers at an address, or `silence`.
    package static func ask(_ host: String, port: Int = TestEngine.port) -> String {
        "{ timeout 3 bash -c 'cat < /dev/tcp/\(host)/\(port)' 2>/dev/null || echo silence; }"
    }

    /// The first address of a container.
    package func address(_ container: String, network: String? = nil) throws -> String {
        let networks = try client.call("GET", "/containers/\(container)/json")["NetworkSettings"]?["Networks"]?.object
        let endpoint = network.flatMap { networks?[$0] } ?? networks?.values.first
        guard let address = endpoint?["IPAddress"]?.string, !address.isEmpty else {
            throw EngineError(.other, "no address")
        }
        return address
    }

    /// What a container has said so far, both streams.
    package func output(_ container: String) throws -> String {
        var frames = LogFrames()
        var text: [UInt8] = []
        let query = [("stdout", "true"), ("stderr", "true"), ("timestamps", "true")]
        try client.parts("GET", "/containers/\(container)/logs", query: query) { part in
            for entry in frames.add(part) { text += entry.text }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Names of what the code under test has made and not freed: containers, networks, volumes.
    package func remains() throws -> [String] {
        let filter = SandboxNaming.filter(labels: ["\(SandboxNaming.installation)=\(installation)"])
        let containers = try client.call("GET", "/containers/json", query: [("all", "true"), filter]).array ?? []
        let networks = try client.call("GET", "/networks", query: [filter]).array ?? []
        let volumes = try client.call("GET", "/volumes", query: [filter])["Volumes"]?.array ?? []
        return containers.compactMap { $0["Id"]?.string }.map { "container \($0)" }
            + networks.compactMap { $0["Id"]?.string }.map { "network \($0)" }
            + volumes.compactMap { $0["Name"]?.string }.map { "volume \($0)" }
    }

    private func clear() throws {
        let own = SandboxNaming.filter(labels: [ownLabel])
        let force = [("force", "true"), ("v", "true")]
        for container in try client.call("GET", "/containers/json", query: [("all", "true"), own]).array ?? [] {
            try attempt("DELETE", "/containers/\(container["Id"]?.string ?? "")", force)
        }
        for thing in try remains() {
            let words = thing.split(separator: " ")
            try attempt("DELETE", "/\(words[0])s/\(words[1])", words[0] == "container" ? force : [])
        }
        for network in try client.call("GET", "/networks", query: [own]).array ?? [] {
            try attempt("DELETE", "/networks/\(network["Id"]?.string ?? "")", [])
        }
    }

    private func attempt(_ method: String, _ path: String, _ query: [(String, String)]) throws {
        do {
            try client.call(method, path, query: query)
        } catch let error as EngineError where error.code == .notFound || error.code == .conflict {}
    }
}
