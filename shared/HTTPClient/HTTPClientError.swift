import CCurl
import Glibc

/// No response came. A response of any status is not an error.
package struct HTTPClientError: Error, Hashable, CustomStringConvertible {
    /// What happened.
    package enum Code: Hashable, Sendable {
        /// One of the request's time limits passed.
        case timeout
        /// No connection came about.
        case connect(ConnectFailure)
        /// The TLS handshake or the certificate check failed.
        case tls
        /// The response is larger than the request allows.
        case tooLarge
        /// The connection broke after it stood.
        case interrupted
        /// The caller's task was cancelled, or the stream was.
        case cancelled
        /// The request cannot be sent as it is: URL, method or a header.
        case invalidRequest
        /// The server said something that is not HTTP, or the library failed in a rarer way.
        case protocolViolation
    }

    /// Why no connection came about.
    package enum ConnectFailure: Hashable, Sendable {
        case refused
        /// The name has no address.
        case unresolved
        case unreachable
    }

    package let code: Code
    /// The reason in words; never holds the URL.
    package let reason: String
    /// `scheme://host:port` that was asked.
    package let origin: String
    /// False only when it is certain that the server has not seen the request. When true, an effect may have
    /// happened: look it up before sending again.
    package let mayHaveReachedServer: Bool
    /// True when the same request may succeed later.
    package let isRetryable: Bool

    package init(
        _ code: Code, _ reason: String, origin: String = "", mayHaveReachedServer: Bool, isRetryable: Bool? = nil
    ) {
        self.code = code
        self.reason = reason
        self.origin = origin
        self.mayHaveReachedServer = mayHaveReachedServer
        self.isRetryable =
            isRetryable
            ?? {
                switch code {
                case .timeout, .connect, .interrupted: true
                case .tls, .tooLarge, .cancelled, .invalidRequest, .protocolViolation: false
                }
            }()
    }

    package var description: String {
        "\(origin): \(reason)"
    }
}

extension HTTPClientError {
    /// What a finished transfer of the C library means.
    ///
    /// - Parameter verdict: the TLS library's on the server's certificate; below 2 = nothing is wrong with it, as far
    ///   as it was asked.
    init(_ result: CURLcode, systemError: Int, verdict: Int, origin: String, mayHaveReachedServer: Bool) {
        var retryable: Bool?
        let code: Code
        switch result {
        case CURLE_OPERATION_TIMEDOUT: code = .timeout
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: code = .connect(.unresolved)
        case CURLE_COULDNT_CONNECT:
            code = .connect(systemError == Int(ECONNREFUSED) ? .refused : .unreachable)
        case CURLE_SSL_CONNECT_ERROR:
            code = .tls
            retryable = true  // the handshake may have been cut off; a refused certificate has a code of its own
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_ISSUER_ERROR, CURLE_USE_SSL_FAILED:
            code = .tls
        case CURLE_FILESIZE_EXCEEDED: code = .tooLarge
        case CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE: code = .interrupted
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL: code = .invalidRequest
        default: code = .protocolViolation
        }
        self.init(
            code, Self.tlsReason(result, verdict) ?? String(cString: curl_easy_strerror(result)), origin: origin,
            mayHaveReachedServer: mayHaveReachedServer, isRetryable: retryable)
    }
}

extension HTTPClientError {
    /// What a failed handshake means and what to set; nil for other failures.
    private static func tlsReason(_ result: CURLcode, _ verdict: Int) -> String? {
        switch result {
        case CURLE_PEER_FAILED_VERIFICATION:
            switch verdict {
            case 0, 1:
                """
                the server's certificate is for another host name; use one of its names in the address, or give the \
                server a certificate for this one
                """
            case 9: "the server's certificate is not valid yet; look at the clocks of both machines"
            case 10: "the server's certificate has expired; renew it"
            default:
                """
                the server's certificate comes from an authority that is not trusted here; name the authority's file \
                (BGAGENT_CA_FILE, or --ca-file on the command line)
                """
            }
        case CURLE_SSL_CACERT_BADFILE:
            "the file of authorities (BGAGENT_CA_FILE, or --ca-file on the command line) holds no certificates"
        case CURLE_SSL_CONNECT_ERROR:
            """
            no TLS handshake came about; the server may not speak TLS on this port, or none of the versions from 1.2 on
            """
        case CURLE_USE_SSL_FAILED:
            "the server offers no encryption (STARTTLS), and it is required (BGAGENT_SMTP_SECURITY)"
        default: nil
        }
    }
}
