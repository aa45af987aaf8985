import HTTPTypes
import Lifecycle

/// A request to send.
package struct ClientRequest: Sendable {
    /// Which proxy stands between.
    package enum Proxy: Sendable {
        /// None, whatever the environment says.
        case none
        /// What `http_proxy`, `https_proxy` and `no_proxy` say.
        case environment
        /// This one.
        case url(String)
    }

    package var method: String
    /// `http://` or `https://`; anything else is refused. Never in a log line or an error: it may hold a secret.
    package var url: String
    package var headers: Headers
    package var body: [UInt8]
    /// For the whole exchange, from name look-up to the last byte; zero = no limit.
    package var timeout: Duration
    /// For the part before the request can be sent: name look-up, connect, TLS.
    package var connectTimeout: Duration
    /// The longest silence of the server, before the response as within it; nil = no limit. For streams.
    package var idleTimeout: Duration?
    /// Redirects are answers like any other unless this is set; then up to five are followed.
    package var followRedirects = false
    /// A body over this many bytes is a `.tooLarge` error; 0 = no limit. Streams have no limit of their own.
    package var maxResponseBytes: Int
    package var proxy = Proxy.none
    /// Connects to this unix socket instead of the URL's host.
    package var unixSocket: String?
    /// True lets the transport send the request a second time when a kept connection turns out to be dead; false
    /// opens a connection of its own. The default follows the method: POST and PATCH are not repeated.
    package var mayRepeat: Bool

    package init(
        method: String = "GET", url: String, headers: Headers = [], body: [UInt8] = [],
        timeout: Duration = .seconds(30), connectTimeout: Duration = .seconds(5), maxResponseBytes: Int = 8 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.connectTimeout = connectTimeout
        self.maxResponseBytes = maxResponseBytes
        mayRepeat = method != "POST" && method != "PATCH"
    }

    /// `scheme://host:port` of the URL: what errors may say about it.
    package var origin: String {
        let sides = url.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
        guard sides.count == 2 else { return "(no URL)" }
        let authority = sides[1].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let host = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? authority
        return "\(sides[0])://\(host)"
    }
}

/// A response, whole in memory.
package struct ClientResponse: Sendable {
    package var status: Int
    package var headers: Headers
    package var body: [UInt8]

    package init(status: Int, headers: Headers = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// True for 200 to 299.
    package var isSuccess: Bool {
        (200..<300).contains(status)
    }

    /// The body as text; what is no UTF-8 becomes replacement characters.
    package var text: String {
        String(decoding: body, as: UTF8.self)
    }
}
