import CCurl
import Glibc
import HTTPTypes
import Lifecycle

/// Says a request in the C library's options.
struct RequestOptions {
    let easy: UnsafeMutableRawPointer
    /// What errors may say about the URL.
    let origin: String

    private func invalid(_ reason: String) -> HTTPClientError {
        HTTPClientError(.invalidRequest, reason, origin: origin, mayHaveReachedServer: false)
    }

    /// Sets everything; the caller frees the returned list of header lines when the exchange is over.
    ///
    /// - Throws: `HTTPClientError` `.invalidRequest`.
    consuming func apply(
        _ request: ClientRequest, _ options: HTTPClient.Options
    ) throws -> UnsafeMutablePointer<curl_slist>? {
        try string(CURLOPT_URL, request.url)
        try string(CURLOPT_PROTOCOLS_STR, "http,https")
        try string(CURLOPT_REDIR_PROTOCOLS_STR, "http,https")
        long(CURLOPT_NOSIGNAL, 1)
        long(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        long(CURLOPT_SSLVERSION, 6)  // CURL_SSLVERSION_TLSv1_2 and newer
        long(CURLOPT_TIMEOUT_MS, Int(request.timeout.wholeMilliseconds))
        long(CURLOPT_CONNECTTIMEOUT_MS, Int(max(request.connectTimeout.wholeMilliseconds, 1)))
        long(CURLOPT_TCP_KEEPALIVE, 1)
        if request.followRedirects {
            long(CURLOPT_FOLLOWLOCATION, 1)
            long(CURLOPT_MAXREDIRS, 5)
        }
        // The library resends on its own when a kept connection dies under a request; a second POST may be a second
        // comment, so such a request gets a fresh connection, where that cannot happen.
        if !request.mayRepeat { long(CURLOPT_FRESH_CONNECT, 1) }
        switch request.proxy {
        case .none: try string(CURLOPT_PROXY, "")
        case .environment: break
        case .url(let url): try string(CURLOPT_PROXY, url)
        }
        if let socket = request.unixSocket { try string(CURLOPT_UNIX_SOCKET_PATH, socket) }
        if let file = options.caFile {
            try string(CURLOPT_CAINFO, file)
            try string(CURLOPT_CAPATH, options.caDirectory)
        }
        bg_curl_set_sockopt(easy, closeOnExec)
        try method(request)
        let lines = try lines(request, options)
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            if let longer = curl_slist_append(list, line) { list = longer }
        }
        bg_curl_set_list(easy, CURLOPT_HTTPHEADER, list)
        return list
    }

    private func method(_ request: ClientRequest) throws {
        let isToken = request.method.utf8.allSatisfy { $0 > 32 && $0 < 127 }
        guard !request.method.isEmpty, isToken else { throw invalid("the method is no token") }
        let sendsBody = !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method)
        if sendsBody {
            long(CURLOPT_POST, 1)
            bg_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, Int64(request.body.count))
            let result =
                request.body.isEmpty
                ? bg_curl_set_string(easy, CURLOPT_COPYPOSTFIELDS, "")
                : request.body.withUnsafeBytes {
                    bg_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, $0.baseAddress)
                }
            guard result == CURLE_OK else { throw invalid("the body does not fit into memory") }
        } else if request.method == "HEAD" {
            long(CURLOPT_NOBODY, 1)
        } else {
            long(CURLOPT_HTTPGET, 1)
        }
        if request.method != "HEAD" || sendsBody { try string(CURLOPT_CUSTOMREQUEST, request.method) }
    }

    private func lines(_ request: ClientRequest, _ options: HTTPClient.Options) throws -> [String] {
        var lines: [String] = []
        for (name, value) in request.headers {
            let breaks: (UInt8) -> Bool = { $0 == 13 || $0 == 10 || $0 == 0 }
            let isNameBroken = name.isEmpty || name.utf8.contains { breaks($0) || $0 == UInt8(ascii: ":") }
            if isNameBroken || value.utf8.contains(where: breaks) { throw invalid("a header field cannot be sent") }
            // An empty value is written with a semicolon; with a colon the library would drop the field.
            lines.append(value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        // The library would add these two by itself: a media type nobody gave, and a wait for 100 Continue that
        // costs a second with servers that do not know it.
        if request.headers["Content-Type"] == nil { lines.append("Content-Type:") }
        if request.headers["Expect"] == nil { lines.append("Expect:") }
        if request.headers["User-Agent"] == nil { lines.append("User-Agent: \(options.userAgent)") }
        return lines
    }

    private func long(_ option: CURLoption, _ value: Int) {
        bg_curl_set_long(easy, option, value)
    }

    private func string(_ option: CURLoption, _ value: String) throws {
        guard !value.utf8.contains(0), bg_curl_set_string(easy, option, value) == CURLE_OK else {
            throw invalid("an option is not understood")
        }
    }
}

/// Children of this process must not hold its connections open.
func closeOnExec(_ context: UnsafeMutableRawPointer?, _ socket: curl_socket_t, _ purpose: curlsocktype) -> Int32 {
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    return Int32(CURL_SOCKOPT_OK)
}
