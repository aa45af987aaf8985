/// Where the broker is, and how patient to be with it.
package struct AMQPConfig: Sendable {
    /// Host name or address.
    package var host: String
    /// TCP port; 5672, or 5671 with TLS, unless the URL names one.
    package var port: Int
    /// User for SASL PLAIN.
    package var user: String
    /// Password for SASL PLAIN.
    package var password: String
    /// Virtual host; `/` unless the URL names one.
    package var vhost: String
    /// True for `amqps`: the peer's certificate and host name are verified.
    package var usesTLS: Bool
    /// PEM files of the authorities to trust: the system's, or the one of the URL's `?cacertfile=`.
    package var certificateAuthorities = ["/etc/ssl/certs/ca-certificates.crt"]
    /// Seconds; a peer that is silent for twice as long is taken for dead. Three is short enough to hand over a
    /// hung consumer's queues in about eight seconds, and long enough to survive a busy machine.
    package var heartbeat = 3
    /// How long connecting and logging in may take, each.
    package var connectTimeout = Duration.seconds(5)
    /// How long `close` may take before the socket is cut.
    package var closeTimeout = Duration.seconds(3)

    /// Reads `amqp://user:password@host:port/vhost` or `amqps://…`; all parts may be percent-encoded.
    ///
    /// - Parameter authorities: a PEM file of authorities to trust beside the system's.
    /// - Throws: `AMQPError.invalidURL`; the message does not repeat the URL, which holds a password.
    package init(url: String, authorities: String? = nil) throws {
        guard let separator = url.range(ofASCII: "://") else { throw Self.invalid("the scheme is missing") }
        switch url[..<separator.lowerBound].lowercased() {
        case "amqp": usesTLS = false
        case "amqps": usesTLS = true
        default: throw Self.invalid("the scheme is neither amqp nor amqps")
        }
        var rest = url[separator.upperBound...]
        var query = Substring()
        if let mark = rest.firstIndex(of: "?") {
            query = rest[rest.index(after: mark)...]
            rest = rest[..<mark]
        }
        var path = Substring()
        if let slash = rest.firstIndex(of: "/") {
            path = rest[rest.index(after: slash)...]
            rest = rest[..<slash]
        }
        user = "guest"
        password = "guest"
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            user = try Self.decoded(credentials[0])
            password = credentials.count > 1 ? try Self.decoded(credentials[1]) : ""
            rest = rest[rest.index(after: at)...]
        }
        var digits: Substring?
        if rest.first == "[", let end = rest.firstIndex(of: "]") {
            host = String(rest[rest.index(after: rest.startIndex)..<end])
            let tail = rest[rest.index(after: end)...]
            digits = tail.first == ":" ? tail.dropFirst() : nil
        } else if let colon = rest.lastIndex(of: ":") {
            host = try Self.decoded(rest[..<colon])
            digits = rest[rest.index(after: colon)...]
        } else {
            host = try Self.decoded(rest)
        }
        guard !host.isEmpty else { throw Self.invalid("the host is missing") }
        port = usesTLS ? 5671 : 5672
        if let digits {
            guard let number = Int(digits), (1...65535).contains(number) else {
                throw Self.invalid("the port is not a number from 1 to 65535")
            }
            port = number
        }
        vhost = path.isEmpty ? "/" : try Self.decoded(path)
        if let authorities { certificateAuthorities.append(authorities) }
        try read(query: query)
    }

    private mutating func read(query: Substring) throws {
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            let value = parts.count > 1 ? try Self.decoded(parts[1]) : ""
            switch parts.first {
            case "heartbeat":
                guard let seconds = Int(value), (1...3600).contains(seconds) else {
                    throw Self.invalid("the heartbeat is not a number of seconds from 1 to 3600")
                }
                heartbeat = seconds
            case "cacertfile":
                certificateAuthorities = [value]
            default:
                throw Self.invalid("only heartbeat and cacertfile are known in the query")
            }
        }
    }

    private static func invalid(_ reason: String) -> AMQPError {
        AMQPError(.invalidURL, "the URL of the broker is wrong: \(reason)")
    }

    private static func decoded(_ text: Substring) throws -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst(), let low = rest.popFirst(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16)
            else { throw invalid("a percent sign is not followed by two hexadecimal digits") }
            bytes.append(value)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw invalid("a part is not UTF-8 text")
        }
        return decoded
    }
}

extension AMQPConfig: CustomStringConvertible {
    /// The address without user and password, for logs.
    package var description: String {
        "\(usesTLS ? "amqps" : "amqp")://\(host):\(port)/\(vhost == "/" ? "" : vhost)"
    }
}

extension String {
    /// Where an ASCII text begins and ends in this one; the standard library searches for no substrings.
    fileprivate func range(ofASCII text: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
