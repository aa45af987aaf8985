/// Where a container engine, or the proxy in front of one, is reached.
package struct EngineAddress: Sendable, Hashable, CustomStringConvertible {
    /// The schemes that a setting may use.
    package static let schemes = ["unix", "http"]

    /// `http://host:port` of the requests; for a unix socket the host is of no meaning.
    package let base: String
    /// The path of the unix socket; nil for TCP.
    package let unixSocket: String?

    /// Reads `unix:///var/run/docker.sock` or `http://engine-proxy:2375`; nil when it is neither.
    package init?(_ url: String) {
        if url.hasPrefix("unix://") {
            let path = String(url.dropFirst("unix://".count))
            guard path.hasPrefix("/") else { return nil }
            (base, unixSocket) = ("http://engine", path)
        } else if url.hasPrefix("http://") {
            let host = url.dropFirst("http://".count).prefix { $0 != "/" }
            guard !host.isEmpty else { return nil }
            (base, unixSocket) = ("http://\(host)", nil)
        } else {
            return nil
        }
    }

    package var description: String { unixSocket.map { "unix://\($0)" } ?? base }
}
