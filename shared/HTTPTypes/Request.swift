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

    /// True when an escape in path or query is broken, so that `path` or `query` is not what was meant.
    package let hasBrokenEscape: Bool

    /// A request for `target` (path and query). A broken escape in it is kept as it is.
    package init(
        method: String, target: String, headers: Headers = [], body: Body = .empty, remoteAddress: String = ""
    ) {
        let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex
        rawPath = String(target[..<mark])
        rawQuery = mark < target.endIndex ? String(target[target.utf8.index(after: mark)...]) : ""
        let (path, query) = (Percent.decode(rawPath), Percent.decodeQuery(rawQuery))
        self.method = method
        self.path = path ?? rawPath
        self.query = query ?? []
        hasBrokenEscape = path == nil || query == nil
        self.headers = headers
        self.body = body
        self.remoteAddress = remoteAddress
    }

    /// The first value of that name in the query.
    package func queryValue(_ name: String) -> String? {
        query.first { $0.0 == name }?.1
    }
}
