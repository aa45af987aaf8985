import ContainerEngine
import Domain

/// Puts the agent gateways onto the sandboxes' networks, and takes them off again.
struct GatewayLinks: Sendable {
    private let engine: EngineClient
    private let labels: [String]

    /// - Parameter labels: containers that bear all of these are agent gateways.
    init(_ engine: EngineClient, labels: [String]) {
        self.engine = engine
        self.labels = labels
    }

    private struct Gateway {
        let id: String
        let isRunning: Bool
        let networks: Set<String>
    }

    /// Every running gateway onto the network of that sandbox.
    ///
    /// Throws when there is none: an agent without a gateway can do nothing.
    func connect(_ network: String) throws {
        let running = try gateways().filter(\.isRunning)
        if running.isEmpty {
            throw SandboxError(
                reason: "No agent gateway runs on this container engine: no container has the label "
                    + "\(labels.joined(separator: ", ")). Start it, or set BGAGENT_AGENT_GATEWAY_LABEL.")
        }
        for gateway in running where !gateway.networks.contains(network) { try connect(gateway, network) }
    }

    /// Every running gateway onto all of those networks that it is not on.
    func mend(_ networks: Set<String>) throws {
        for gateway in try gateways() where gateway.isRunning {
            for network in networks.subtracting(gateway.networks).sorted() { try connect(gateway, network) }
        }
    }

    /// All gateways off that network, those that do not run included: one that is told of a network that is gone does
    /// not start again.
    func disconnect(_ network: String) throws {
        for gateway in try gateways() where gateway.networks.contains(network) {
            do {
                let body: JSONValue = ["Container": .string(gateway.id), "Force": true]
                try engine.call("POST", "/networks/\(network)/disconnect", body: body)
            } catch let error as EngineError where error.code == .notFound || error.code == .conflict {}
        }
    }

    private func connect(_ gateway: Gateway, _ network: String) throws {
        do {
            let body: JSONValue = [
                "Container": .string(gateway.id),
                "EndpointConfig": ["Aliases": [.string(SandboxNaming.gatewayAlias)]],
            ]
            try engine.call("POST", "/networks/\(network)/connect", body: body)
        } catch let error as EngineError where error.code == .conflict {
            // Somebody else was quicker.
        }
    }

    private func gateways() throws -> [Gateway] {
        let query = [("all", "true"), SandboxNaming.filter(labels: labels)]
        return (try engine.call("GET", "/containers/json", query: query).array ?? []).compactMap { container in
            guard let id = container["Id"]?.string else { return nil }
            let networks = container["NetworkSettings"]?["Networks"]?.object ?? [:]
            return Gateway(id: id, isRunning: container["State"]?.string == "running", networks: Set(networks.keys))
        }
    }
}
