import ContainerEngine
import Domain
import HTTPServer
import HTTPTypes

/// The calls about networks and volumes.
struct NetworkCalls: Sendable {
    let proxy: EngineProxy
    private var engine: EngineClient { proxy.engine }
    private var rules: ProxyRules { proxy.rules }

    func list(_ request: Request) throws -> Reply {
        .response(EngineProxy.json(try own(request, "/networks")))
    }

    func create(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        let body = try proxy.body(request)
        _ = try rules.checkNetwork(body)
        let made = try engine.call("POST", "/networks/create", body: body)
        return .response(
            EngineProxy.json(["Id": made["Id"] ?? .null, "Warning": made["Warning"] ?? .null], status: 201))
    }

    func connect(_ request: Request) throws -> Reply {
        let body = try proxy.body(request)
        return try join(request, "connect", body, container: try rules.checkConnect(body))
    }

    func disconnect(_ request: Request) throws -> Reply {
        let body = try proxy.body(request)
        return try join(request, "disconnect", body, container: try rules.checkDisconnect(body))
    }

    func remove(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        try proxy.requireNoBody(request)
        try engine.call("DELETE", "/networks/\(try networkID(request))")
        return EngineProxy.done
    }

    func listVolumes(_ request: Request) throws -> Reply {
        // Podman lists the volumes that bear any of the labels, and others' are nobody's business.
        let volumes = (try own(request, "/volumes")["Volumes"]?.array ?? []).filter {
            $0["Labels"]?[SandboxNaming.installation]?.string == rules.installation
        }
        return .response(EngineProxy.json(["Volumes": .array(volumes)]))
    }

    func createVolume(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        let body = try proxy.body(request)
        let name = try rules.checkVolume(body)
        let made = try engine.call("POST", "/volumes/create", body: body)
        return .response(EngineProxy.json(["Name": made["Name"] ?? .string(name)], status: 201))
    }

    func removeVolume(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        try proxy.requireNoBody(request)
        let name = try rules.name(request.pathParameters["name"], "the volume")
        _ = try proxy.volume(name)
        try engine.call("DELETE", "/volumes/\(name)")
        return EngineProxy.done
    }

    private func own(_ request: Request, _ path: String) throws -> JSONValue {
        let labels = try proxy.labels(try proxy.query(request, ["filters"]))
        try proxy.requireOwn(labels)
        return try engine.call("GET", path, query: [SandboxNaming.filter(labels: labels)])
    }

    /// An agent gateway onto a network of ours or off it; any other container would be let out, or let in.
    private func join(_ request: Request, _ verb: String, _ body: JSONValue, container: String) throws -> Reply {
        _ = try proxy.query(request, [])
        let found = try engine.call("GET", "/containers/\(container)/json")
        guard found["Id"]?.string == container, rules.isGateway(found["Config"]?["Labels"]) else {
            throw Refusal("the container \(container.prefix(12)) is not an agent gateway")
        }
        try engine.call("POST", "/networks/\(try networkID(request))/\(verb)", body: body)
        return .response(Response(status: 200))
    }

    private func networkID(_ request: Request) throws -> String {
        let name = try rules.name(request.pathParameters["name"], "the network")
        guard let id = try proxy.network(name)["Id"]?.string else { throw Refusal("the network has no id") }
        return id
    }
}

extension EngineProxy {
    /// The network of that name, if it is ours.
    func network(_ name: String) throws -> JSONValue {
        let network = try engine.call("GET", "/networks/\(name)")
        guard network["Name"]?.string == name, rules.owns(network["Labels"], name) else {
            throw Refusal("the network \(name) does not belong to this installation")
        }
        return network
    }

    /// The volume of that name, if it is ours.
    func volume(_ name: String) throws -> JSONValue {
        let volume = try engine.call("GET", "/volumes/\(name)")
        guard volume["Name"]?.string == name, rules.owns(volume["Labels"], name) else {
            throw Refusal("the volume \(name) does not belong to this installation")
        }
        return volume
    }
}
