import HTTPTypes

/// One request to the gateway, as the program thinks of it.
package struct Call: Sendable {
    package let method: String
    package let url: String
    package let headers: Headers
    package let body: [UInt8]
    /// The longest the whole exchange may take.
    package let timeout: Duration
    /// An authority to trust beside the system's.
    package let caFile: String?

    package init(
        method: String, url: String, headers: Headers, body: [UInt8], timeout: Duration, caFile: String? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.caFile = caFile
    }
}

/// Why there was no answer. What matters is whether the gateway can have acted.
package enum TransportError: Error, Sendable, Equatable {
    /// No connection came to be: nothing can have happened, any call may be made again.
    case unreachable(String)
    /// The request went out and no whole answer came back: only a call that may happen twice may be made again.
    case lost(String)
    /// No further try would help: a certificate that is not trusted, an answer too large.
    case unusable(String)

    package var reason: String {
        switch self {
        case .unreachable(let text), .lost(let text), .unusable(let text): text
        }
    }
}

/// The way to the gateway.
package struct Transport: Sendable {
    /// - Throws: ``TransportError`` only.
    package let send: @Sendable (Call) async throws -> Response

    package init(send: @escaping @Sendable (Call) async throws -> Response) {
        self.send = send
    }
}
