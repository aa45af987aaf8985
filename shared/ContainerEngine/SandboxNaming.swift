import Domain

/// How everything that belongs to a sandbox is named and labelled on an engine, so that it is found again and nobody
/// else's is touched.
package enum SandboxNaming {
    /// Whose it is: one installation of the platform on an engine.
    package static let installation = "bgagent.installation"
    /// Which compute node started it.
    package static let node = "bgagent.node"
    /// The session's name, which is also the name of its container, volume and network.
    package static let session = "bgagent.session"
    /// Where an agent's files lie in its container, and the home of its user.
    package static let workspace = "/workspace"
    package static let home = "/home/agent"
    /// How a sandbox calls the agent gateway.
    package static let gatewayAlias = "agent-gateway"
    /// Keeps the host's address off a network's bridge: without it a sandbox reaches the host.
    package static let withoutHostAddress = "com.docker.network.bridge.inhibit_ipv4"

    /// True for `bgagent-<task>-<attempt>`; false for what compose calls the containers of a project `bgagent`.
    package static func isSession(_ name: String) -> Bool {
        guard name.hasPrefix("bgagent-"), let dash = name.lastIndex(of: "-") else { return false }
        let attempt = name[name.index(after: dash)...].utf8
        let rest = name.utf8.dropFirst("bgagent-".utf8.count)
        let task = rest.prefix(max(0, rest.count - attempt.count - 1))
        let isDigit: (UInt8) -> Bool = { (0x30...0x39).contains($0) }
        let isWord: (UInt8) -> Bool = { isDigit($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) }
        return (26...40).contains(task.count) && task.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") }
            && (1...9).contains(attempt.count) && attempt.allSatisfy(isDigit)
    }

    /// The engine's filter for everything with all of these labels.
    package static func filter(labels: [String]) -> (String, String) {
        ("filters", JSONValue.object(["label": .array(labels.map { .string($0) })]).text)
    }
}
