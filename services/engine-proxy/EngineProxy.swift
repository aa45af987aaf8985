import ContainerEngine
import Domain
import HTTPClient
import HTTPServer
import HTTPTypes
import Telemetry

/// Stands between the compute adapter and the engine's socket, which is root on the host: passes exactly the calls that
/// the adapter makes, for its own sandboxes, and refuses everything else.
///
/// Nothing of a request goes on as it came. Paths and queries are made anew from what was read, and bodies from the
/// document that was checked, so that no second reading of the same bytes can mean something else. What a call is about
/// is looked at first and then named by its id. Keeps nothing.
struct EngineProxy: Sendable {
    static let longestBody = 1 << 20

    let rules: ProxyRules
    let engine: EngineClient
    let log: Logger

    var router: Router {
        var router = Router { reason, request in self.failed(reason, request) }
        router.on("GET", "/version") { _ in .response(Self.json(try self.version())) }
        for (method, pattern, handler) in routes {
            router.on(method, "/{version}\(pattern)", maxBody: Self.longestBody) { request in
                try self.checkVersion(request)
                return try handler(request)
            }
        }
        return router
    }

    private var routes: [(String, String, Router.Handler)] {
        let containers = ContainerCalls(proxy: self)
        let networks = NetworkCalls(proxy: self)
        return [
            ("GET", "/containers/json", containers.list),
            ("POST", "/containers/create", containers.create),
            ("GET", "/containers/{name}/json", containers.inspect),
            ("POST", "/containers/{name}/start", containers.start),
            ("POST", "/containers/{name}/kill", containers.kill),
            ("GET", "/containers/{name}/logs", containers.logs),
            ("GET", "/containers/{name}/stats", containers.stats),
            ("DELETE", "/containers/{name}", containers.remove),
            ("GET", "/networks", networks.list),
            ("POST", "/networks/create", networks.create),
            ("POST", "/networks/{name}/connect", networks.connect),
            ("POST", "/networks/{name}/disconnect", networks.disconnect),
            ("DELETE", "/networks/{name}", networks.remove),
            ("GET", "/volumes", networks.listVolumes),
            ("POST", "/volumes/create", networks.createVolume),
            ("DELETE", "/volumes/{name}", networks.removeVolume),
        ]
    }

    /// The body as a document; refused where none belongs.
    func body(_ request: Request) throws -> JSONValue {
        do {
            return try JSONText.decode(bytes: try request.body.load())
        } catch {
            throw Refusal("the body is not JSON")
        }
    }

    /// Nothing may stand where nothing belongs: old engines took a container's whole configuration at its start.
    func requireNoBody(_ request: Request) throws {
        guard request.body.count == 0 else { throw Refusal("\(request.method) \(request.path) takes no body") }
    }

    /// The query, if it holds these names only, each at most once.
    func query(_ request: Request, _ names: [String]) throws -> [String: String] {
        var found: [String: String] = [:]
        for (name, value) in request.query {
            guard names.contains(name), found.updateValue(value, forKey: name) == nil else {
                throw Refusal("the query's \(name) is not allowed")
            }
        }
        return found
    }

    /// The labels that a list is asked for.
    func labels(_ query: [String: String]) throws -> [String] {
        guard let text = query["filters"], let filters = try? JSONText.decode(JSONValue.self, text) else {
            throw Refusal("a list needs filters")
        }
        var fields = try Fields(filters, "filters")
        let labels = fields.take("label")?.array?.compactMap(\.string) ?? []
        try fields.end()
        return labels
    }

    /// Only what belongs to this installation may be listed.
    func requireOwn(_ labels: [String]) throws {
        guard labels.contains("\(SandboxNaming.installation)=\(rules.installation)") else {
            throw Refusal("filters.label must name this installation")
        }
    }

    static func json(_ value: JSONValue, status: Int = 200) -> Response {
        .json(value.text.utf8, status: status)
    }

    static var done: Reply { .response(Response(status: 204)) }

    private func version() throws -> JSONValue {
        let about = try engine.about()
        return [
            "ApiVersion": about["ApiVersion"] ?? .null, "MinAPIVersion": about["MinAPIVersion"] ?? .null,
            "Version": about["Version"] ?? .null,
        ]
    }

    /// The proxy asks in the version that it speaks itself; another one might read a body another way.
    private func checkVersion(_ request: Request) throws {
        let text = request.pathParameters["version"] ?? ""
        guard text.hasPrefix("v"), let version = APIVersion(String(text.dropFirst())),
            version >= EngineClient.oldest, version <= EngineClient.newest
        else { throw Refusal("\(request.method) \(request.path) is not allowed") }
    }

    private func failed(_ reason: RequestFailure, _ request: Request) -> Response {
        let answer: (status: Int, message: String) =
            switch reason {
            case .thrown(let refusal as Refusal): (403, "\(refusal)")
            // As the engine has said it, so that the adapter draws the same conclusions.
            case .thrown(let error as EngineError):
                (error.answer?.status ?? 502, error.answer?.message ?? error.description)
            case .notFound, .methodNotAllowed:
                (403, "\(EngineError.proxyMark) \(request.method) \(request.path) is not allowed")
            case .brokenEscape: (400, "\(EngineError.proxyMark) broken escape in the URL")
            case .bodyTooLarge(let limit): (413, "\(EngineError.proxyMark) the body is over \(limit) bytes")
            default: (500, "\(EngineError.proxyMark) internal error")
            }
        if answer.message.hasPrefix(EngineError.proxyMark) {
            log.warning("refused", ["reason": answer.message, "peer": request.remoteAddress])
        }
        return Self.json(["message": .string(answer.message)], status: answer.status)
    }
}
