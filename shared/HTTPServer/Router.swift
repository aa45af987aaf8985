import HTTPTypes

/// Why the server, and no handler, has to answer.
package enum RequestFailure: Sendable {
    /// 404: no route has this path.
    case notFound
    /// 405: routes have this path with other methods. The `Allow` header is added by the server.
    case methodNotAllowed(allowed: [String])
    /// 400: a `%` escape in path or query is broken.
    case brokenEscape
    /// 413: the body is over so many bytes.
    case bodyTooLarge(limit: Int)
    /// Whatever fits: `Reply.later` was not answered in its time, or the server stops.
    case laterTimedOut
    /// 500, or whatever fits the error: a handler threw it. Answers of 500 and above are logged.
    case thrown(any Error)
}

/// Which handler answers which request, and what the owner wants done around all of them.
///
/// Patterns are paths whose segments are literal, `{name}` for one segment, or, at the end, `{name...}` for all that
/// follows. A literal goes before a name. HEAD is answered by GET routes.
package struct Router: Sendable {
    package typealias Handler = @Sendable (Request) throws -> Reply

    /// Answers where no handler does, so that errors keep one shape.
    package var failure: @Sendable (RequestFailure, Request) -> Response
    /// Sees every request when its head is there and its body is not: may name the request, and may refuse it before a
    /// large body arrives by returning the answer, or by throwing.
    package var admit: (@Sendable (inout Request) throws -> Response?)?
    /// Sees every answer last, failures and the heads of streams included (their body is empty here).
    package var finish: (@Sendable (inout Response, Request) -> Void)?

    private var root = Node()

    package init(failure: @escaping @Sendable (RequestFailure, Request) -> Response = Router.plainFailure) {
        self.failure = failure
    }

    /// Adds a route.
    ///
    /// - Parameter maxBody: the limit of this route's bodies; nil = the server's.
    /// - Precondition: the pattern starts with `/`, `{name...}` stands last, and no other route has the same method
    ///   and pattern.
    package mutating func on(
        _ method: String, _ pattern: String, maxBody: Int? = nil, _ handler: @escaping Handler
    ) {
        precondition(pattern.hasPrefix("/"), "the pattern \(pattern) does not start with /")
        let parts = pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map(Part.init)
        let names = parts.compactMap(\.name)
        let route = Route(pattern: pattern, names: names, maxBody: maxBody, handler: handler)
        root.add(route, method: method, parts: parts[...])
    }

    /// A route that matched.
    struct Route: Sendable {
        let pattern: String
        let names: [String]
        let maxBody: Int?
        let handler: Handler
    }

    enum Match {
        case route(Route)
        case failure(RequestFailure)
    }

    /// Finds the route and writes the parameters into the request.
    func match(_ request: inout Request) -> Match {
        if request.hasBrokenEscape { return .failure(.brokenEscape) }
        let path = request.rawPath.utf8
        guard path.first == UInt8(ascii: "/") else { return .failure(.notFound) }
        var segments: [String] = []
        for segment in path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            segments.append(Percent.decode(Substring(segment)) ?? "")
        }
        var search = Search(method: request.method)
        guard let (route, values) = search.find(root, segments[...], []) else {
            return .failure(
                search.allowed.isEmpty ? .notFound : .methodNotAllowed(allowed: search.allowed.sorted()))
        }
        request.route = route.pattern
        request.pathParameters = Dictionary(zip(route.names, values)) { _, last in last }
        return .route(route)
    }

    /// Answers a request without any server, for tests. What a handler throws goes through `failure` as it does there.
    package func reply(to request: Request) -> Reply {
        var request = request
        do {
            if let refusal = try admit?(&request) { return finished(refusal, request) }
            switch match(&request) {
            case .failure(let reason): return finished(answer(reason, request), request)
            case .route(let route):
                let reply = try route.handler(request)
                guard case .response(let response) = reply else { return reply }
                return finished(response, request)
            }
        } catch {
            return finished(answer(.thrown(error), request), request)
        }
    }

    /// The failure's answer with the header that goes with it.
    func answer(_ reason: RequestFailure, _ request: Request) -> Response {
        var response = failure(reason, request)
        if case .methodNotAllowed(let allowed) = reason, response.headers["Allow"] == nil {
            response.headers["Allow"] = allowed.joined(separator: ", ")
        }
        return response
    }

    private func finished(_ response: Response, _ request: Request) -> Reply {
        var response = response
        finish?(&response, request)
        return .response(response)
    }

    /// Failures in plain words.
    package static func plainFailure(_ reason: RequestFailure, _ request: Request) -> Response {
        switch reason {
        case .notFound: .text("not found\n", status: 404)
        case .methodNotAllowed: .text("method not allowed\n", status: 405)
        case .brokenEscape: .text("broken escape in the URL\n", status: 400)
        case .bodyTooLarge(let limit): .text("the body is over \(limit) bytes\n", status: 413)
        case .laterTimedOut: .text("no answer in time\n", status: 503)
        case .thrown: .text("internal error\n", status: 500)
        }
    }
}

/// One segment of a pattern.
private enum Part {
    case literal(String)
    case parameter(String)
    case rest(String)

    init(_ text: Substring) {
        guard text.hasPrefix("{"), text.hasSuffix("}") else {
            self = .literal(String(text))
            return
        }
        let name = text.dropFirst().dropLast()
        self = name.hasSuffix("...") ? .rest(String(name.dropLast(3))) : .parameter(String(name))
    }

    var name: String? {
        switch self {
        case .literal: nil
        case .parameter(let name), .rest(let name): name
        }
    }
}

private struct Node: Sendable {
    var literals: [String: Node] = [:]
    /// At most one: an array because a struct cannot hold itself.
    var parameter: [Node] = []
    /// Routes that end here, by method.
    var routes: [String: Router.Route] = [:]
    /// Routes that take all that follows, by method.
    var rest: [String: Router.Route] = [:]

    mutating func add(_ route: Router.Route, method: String, parts: ArraySlice<Part>) {
        guard let part = parts.first else {
            precondition(routes.updateValue(route, forKey: method) == nil, "\(method) \(route.pattern) exists already")
            return
        }
        switch part {
        case .literal(let text): literals[text, default: Node()].add(route, method: method, parts: parts.dropFirst())
        case .parameter:
            if parameter.isEmpty { parameter = [Node()] }
            parameter[0].add(route, method: method, parts: parts.dropFirst())
        case .rest:
            precondition(parts.count == 1, "{...} stands last in \(route.pattern)")
            precondition(rest.updateValue(route, forKey: method) == nil, "\(method) \(route.pattern) exists already")
        }
    }
}

private struct Search {
    let method: String
    /// Methods of routes that have the path and not the method.
    var allowed: Set<String> = []

    init(method: String) {
        self.method = method
    }

    /// The best route, with the values of its parameters in order.
    mutating func find(
        _ node: Node, _ segments: ArraySlice<String>, _ values: [String]
    ) -> (Router.Route, [String])? {
        guard let segment = segments.first else { return pick(node.routes).map { ($0, values) } }
        let following = segments.dropFirst()
        if let next = node.literals[segment], let found = find(next, following, values) { return found }
        if let next = node.parameter.first, !segment.isEmpty,
            let found = find(next, following, values + [segment])
        {
            return found
        }
        if node.rest.isEmpty { return nil }
        return pick(node.rest).map { ($0, values + [segments.joined(separator: "/")]) }
    }

    private mutating func pick(_ routes: [String: Router.Route]) -> Router.Route? {
        if let route = routes[method] ?? (method == "HEAD" ? routes["GET"] : nil) { return route }
        allowed.formUnion(routes.keys)
        if routes["GET"] != nil { allowed.insert("HEAD") }
        return nil
    }
}
