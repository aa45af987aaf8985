/// A request as a handler sees it: whole, decoded, and free of the connection it came on.
package struct Request: Sendable {
    /// `GET`, `POST` … as sent. A HEAD request stays `HEAD`, even when a GET route answers it.
    package var method: String
    /// The path with its escapes resolved. Never match on it: `%2F` looks like a separator here; routes do not fall
    /// for that.
    package var path: String
    /// The path as sent, without the query.
    package var rawPath: String
    /// What follows the `?`, as sent; empty without one.
    package var rawQuery: String
    /// Names and values of the query, decoded, in order.
    package var query: [(String, String)]
    package var headers: Headers
    package var body: Body
    /// The address of the peer without its port. Behind a proxy that is the proxy.
    package var remoteAddress: String
    /// What the route's `{name}` parts matched, decoded.
    package var pathParameters: [String: String] = [:]
    /// The pattern of the route that matched, for metrics; nil when none did.
    package var route: String?
    /// The owner's name for this request (`Router.prepare` may set it); empty until then.
    package var id: String = ""

    /// A request for `target` (path and query). A broken escape in it is kept as it is.
    package init(
        method: String, target: String, headers: Headers = [], body: Body = .empty, remoteAddress: String = ""
    ) {
        let sides = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let rawPath = sides.first.map(String.init) ?? ""
        self.method = method
        self.rawPath = rawPath
        rawQuery = sides.count > 1 ? String(sides[1]) : ""
        path = Percent.decode(rawPath) ?? rawPath
        query = Percent.decodeQuery(rawQuery) ?? []
        self.headers = headers
        self.body = body
        self.remoteAddress = remoteAddress
    }

    /// True when an escape in path or query is broken, so that `path` or `query` is not what was meant.
    package var hasBrokenEscape: Bool {
        Percent.decode(rawPath) == nil || Percent.decodeQuery(rawQuery) == nil
    }

    /// The first value of that name in the query.
    package func queryValue(_ name: String) -> String? {
        query.first { $0.0 == name }?.1
    }
}
