import CCurl
import Glibc
import HTTPTypes
import Lifecycle

/// One exchange at a time over handles of the C library, and the connections those keep open between exchanges.
///
/// Confined to the thread that took it from the client's pool; callbacks run on that thread, inside `advance`.
final class Transfer {
    private let easy: UnsafeMutableRawPointer
    private let multi: UnsafeMutableRawPointer
    private var fields: UnsafeMutablePointer<curl_slist>?
    private var isAttached = false
    private var origin = ""
    private var limit = 0
    private var followsRedirects = false
    private var isTooLarge = false
    private var idleTimeout: Duration?
    private var lastActivity = MonotonicTime.now
    private var cancellation = Cancellation()

    private(set) var status = 0
    private(set) var headers = Headers()
    /// The final status and all headers are known.
    private(set) var isHeadComplete = false
    /// The exchange is over; `failure` says how.
    private(set) var isDone = false
    private(set) var failure: HTTPClientError?
    private var body: [UInt8] = []
    private var taken = 0

    private static let initialized = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    init() throws {
        guard Self.initialized, let easy = curl_easy_init() else {
            throw HTTPClientError(.protocolViolation, "no handle", mayHaveReachedServer: false)
        }
        guard let multi = curl_multi_init() else {
            curl_easy_cleanup(easy)
            throw HTTPClientError(.protocolViolation, "no handle", mayHaveReachedServer: false)
        }
        self.easy = easy
        self.multi = multi
        bg_curl_set_multi_long(multi, CURLMOPT_MAXCONNECTS, 4)
    }

    deinit {
        end()
        curl_easy_cleanup(easy)
        curl_multi_cleanup(multi)
    }

    /// Prepares the exchange; nothing is sent before `advance`.
    func begin(_ request: ClientRequest, options: HTTPClient.Options, cancellation: Cancellation) throws {
        end()
        origin = request.origin
        limit = request.maxResponseBytes
        followsRedirects = request.followRedirects
        idleTimeout = request.idleTimeout
        isTooLarge = false
        status = 0
        headers = []
        isHeadComplete = false
        isDone = false
        failure = nil
        body = []
        taken = 0
        fields = try RequestOptions(easy: easy, origin: origin).apply(request, options)
        let context = Unmanaged.passUnretained(self).toOpaque()
        bg_curl_set_callback(easy, CURLOPT_WRITEFUNCTION, receiveBody)
        bg_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
        bg_curl_set_callback(easy, CURLOPT_HEADERFUNCTION, receiveHeader)
        bg_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        curl_multi_add_handle(multi, easy)
        isAttached = true
        lastActivity = .now
        self.cancellation = cancellation
        cancellation.attach(multi)
    }

    /// Works on the exchange until `isEnough`, its end, or its failure, which is thrown unless it is enough already.
    func advance(until isEnough: () -> Bool) throws {
        while !isDone, !isEnough() {
            if cancellation.isCancelled {
                fail(.init(.cancelled, "cancelled", origin: origin, mayHaveReachedServer: mayHaveReachedServer))
                break
            }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            collect()
            if isDone || isEnough() { break }
            var wait = Duration.seconds(1)
            if let idleTimeout {
                let left = idleTimeout - lastActivity.elapsed
                if left <= .zero {
                    fail(.init(.timeout, "the server fell silent", origin: origin, mayHaveReachedServer: true))
                    break
                }
                wait = min(wait, left + .milliseconds(1))
            }
            curl_multi_poll(multi, nil, 0, Int32(wait.wholeMilliseconds), nil)
        }
        // What came before a failure is still worth having.
        if let failure, !isEnough() { throw failure }
    }

    /// Bytes received and not yet taken.
    var pending: Int {
        body.count - taken
    }

    /// Moves received bytes out; 0 when there are none.
    func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(pending, buffer.count)
        body.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[taken..<(taken + count)])) }
        taken += count
        if taken == body.count {
            body.removeAll(keepingCapacity: body.capacity <= 1 << 16)
            taken = 0
        }
        return count
    }

    /// The whole body, once done.
    func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    /// Leaves the exchange: an unfinished one loses its connection, a finished one keeps it for the next.
    func end() {
        cancellation.attach(nil)
        if isAttached { curl_multi_remove_handle(multi, easy) }
        isAttached = false
        curl_easy_reset(easy)
        if let fields { curl_slist_free_all(fields) }
        fields = nil
    }

    private var mayHaveReachedServer: Bool {
        bg_curl_get_long(easy, CURLINFO_REQUEST_SIZE) > 0
    }

    private func fail(_ error: HTTPClientError) {
        failure = error
        isDone = true
    }

    private func collect() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE else { continue }
            let result = message.pointee.data.result
            isDone = true
            if isTooLarge {
                let reason = "the response is over \(limit) bytes"
                fail(.init(.tooLarge, reason, origin: origin, mayHaveReachedServer: true))
            } else if result != CURLE_OK {
                let systemError = bg_curl_get_long(easy, CURLINFO_OS_ERRNO)
                let reached = mayHaveReachedServer
                let verdict = bg_curl_get_long(easy, CURLINFO_SSL_VERIFYRESULT)
                fail(
                    .init(
                        result, systemError: systemError, verdict: verdict, origin: origin,
                        mayHaveReachedServer: reached))
            } else {
                isHeadComplete = true
            }
        }
    }

    /// One line of the head, with its line break.
    fileprivate func received(header line: UnsafeRawBufferPointer) {
        lastActivity = .now
        var text = line[...]
        while let last = text.last, last == 13 || last == 10 { text = text.dropLast() }
        if text.isEmpty {
            let isInterim = status < 200 || (followsRedirects && (300..<400).contains(status) && status != 304)
            isHeadComplete = !isInterim
            return
        }
        if text.starts(with: Array("HTTP/".utf8)) {
            headers = []
            let parts = text.split(separator: UInt8(ascii: " "))
            status = parts.count > 1 ? Int(String(decoding: parts[1], as: UTF8.self)) ?? 0 : 0
            return
        }
        // Lines that follow a chunked body are trailers: nobody here reads them.
        guard !isHeadComplete, let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return }
        let isSpace: (UInt8) -> Bool = { $0 == 32 || $0 == 9 }
        var value = text[text.index(after: colon)...].drop(while: isSpace)
        while let last = value.last, isSpace(last) { value = value.dropLast() }
        let name = String(decoding: text[..<colon], as: UTF8.self)
        headers.append((name, String(decoding: value, as: UTF8.self)))
    }

    /// A part of the body; false stops the transfer.
    fileprivate func received(body part: UnsafeRawBufferPointer) -> Bool {
        lastActivity = .now
        isHeadComplete = true
        if limit > 0, body.count + part.count > limit {
            isTooLarge = true
            return false
        }
        body.append(contentsOf: part)
        return true
    }
}

private func receiveBody(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    return transfer.received(body: UnsafeRawBufferPointer(start: data, count: size * count)) ? size * count : 0
}

private func receiveHeader(
    _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    transfer.received(header: UnsafeRawBufferPointer(start: data, count: size * count))
    return size * count
}
