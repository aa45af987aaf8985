import ContainerEngine
import Domain
import HTTPClient
import HTTPServer
import HTTPTypes

/// The calls about containers.
struct ContainerCalls: Sendable {
    let proxy: EngineProxy
    private var engine: EngineClient { proxy.engine }
    private var rules: ProxyRules { proxy.rules }

    /// Our own, or the agent gateways; of those no more than which networks they are on.
    func list(_ request: Request) throws -> Reply {
        let query = try proxy.query(request, ["all", "filters"])
        let labels = try proxy.labels(query)
        let isOfGateways = Set(labels) == Set(rules.gatewayLabels)
        if !isOfGateways { try proxy.requireOwn(labels) }
        let all = ("all", query["all"] == "true" ? "true" : "false")
        let found = try engine.call("GET", "/containers/json", query: [all, SandboxNaming.filter(labels: labels)])
        let reduced = (found.array ?? []).map { container -> JSONValue in
            let networks = container["NetworkSettings"]?["Networks"]?.object ?? [:]
            return [
                "Id": container["Id"] ?? .null, "State": container["State"] ?? .null,
                "Labels": isOfGateways ? [:] : container["Labels"] ?? .null,
                "NetworkSettings": ["Networks": .object(networks.mapValues { _ in [:] })],
            ]
        }
        return .response(EngineProxy.json(.array(reduced)))
    }

    /// A container of ours, in a network and with a volume that are ours already.
    func create(_ request: Request) throws -> Reply {
        let name = try rules.name(try proxy.query(request, ["name"])["name"], "name")
        let body = try proxy.body(request)
        let hasVolume = try rules.checkContainer(body, name: name)
        // By name alone the engine would take what it finds, or make a volume without a quota.
        let network = try proxy.network(name)
        guard network["Internal"]?.bool == true else { throw Refusal("the network \(name) leads out") }
        if hasVolume { _ = try proxy.volume(name) }
        let made = try engine.call("POST", "/containers/create", query: [("name", name)], body: body)
        return .response(EngineProxy.json(["Id": made["Id"] ?? .null, "Warnings": []], status: 201))
    }

    /// State and labels, without the environment, which holds the attempt's tokens.
    func inspect(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        let container = try own(request)
        return .response(
            EngineProxy.json([
                "Id": container["Id"] ?? .null, "Name": container["Name"] ?? .null,
                "State": container["State"] ?? .null, "Config": ["Labels": container["Config"]?["Labels"] ?? .null],
            ]))
    }

    func start(_ request: Request) throws -> Reply {
        _ = try proxy.query(request, [])
        try proxy.requireNoBody(request)
        try engine.call("POST", "/containers/\(try id(request))/start")
        return EngineProxy.done
    }

    func kill(_ request: Request) throws -> Reply {
        let signal = try proxy.query(request, ["signal"])["signal"] ?? ""
        guard ["SIGTERM", "SIGKILL"].contains(signal) else { throw Refusal("signal must be SIGTERM or SIGKILL") }
        try proxy.requireNoBody(request)
        try engine.call("POST", "/containers/\(try id(request))/kill", query: [("signal", signal)])
        return EngineProxy.done
    }

    func remove(_ request: Request) throws -> Reply {
        let query = try proxy.query(request, ["force", "v"])
        guard query.values.allSatisfy({ $0 == "true" }) else { throw Refusal("force and v may only be true") }
        try proxy.requireNoBody(request)
        try engine.call("DELETE", "/containers/\(try id(request))", query: query.map { ($0, $1) })
        return EngineProxy.done
    }

    /// The output as it comes.
    func logs(_ request: Request) throws -> Reply {
        let query = try proxy.query(request, ["stdout", "stderr", "timestamps", "since"])
        for (name, value) in query {
            let isRight =
                name == "since" ? value.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) } : value == "true"
            guard isRight else { throw Refusal("the query's \(name) may not be \(value.prefix(40))") }
        }
        let stream = try engine.stream(
            "GET", "/containers/\(try id(request))/logs", query: query.map { ($0, $1) })
        let type = stream.headers["Content-Type"] ?? "application/octet-stream"
        return .stream(status: 200, headers: ["Content-Type": type], reader: stream)
    }

    func stats(_ request: Request) throws -> Reply {
        let query = try proxy.query(request, ["stream", "one-shot"])
        guard query["stream"] == "false" else { throw Refusal("stream must be false") }
        let stats = try engine.call(
            "GET", "/containers/\(try id(request))/stats", query: [("stream", "false"), ("one-shot", "true")])
        return .response(
            EngineProxy.json([
                "cpu_stats": stats["cpu_stats"] ?? .null, "memory_stats": stats["memory_stats"] ?? .null,
                "pids_stats": stats["pids_stats"] ?? .null,
            ]))
    }

    /// The container that the path names, if it is ours.
    private func own(_ request: Request) throws -> JSONValue {
        let name = try rules.name(request.pathParameters["name"], "the container")
        let container = try engine.call("GET", "/containers/\(name)/json")
        guard container["Name"]?.string == "/\(name)" || container["Name"]?.string == name,
            rules.owns(container["Config"]?["Labels"], name)
        else { throw Refusal("the container \(name) does not belong to this installation") }
        return container
    }

    private func id(_ request: Request) throws -> String {
        guard let id = try own(request)["Id"]?.string else { throw Refusal("the container has no id") }
        return id
    }
}
