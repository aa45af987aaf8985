import CMicroHTTPD
import HTTPTypes
import Lifecycle
import Telemetry

/// One request and its answer. Lives from the request's first line to its end, on the thread of its connection.
final class Exchange {
    /// Refused bodies up to this size are read, which keeps the connection for the next request.
    private static let worthReading = 64 << 10

    private enum Phase {
        case new
        case receiving
        case waiting(Suspension)
        case answered
    }

    private let engine: Engine
    private let connection: Connection
    private let handle: OpaquePointer
    private let target: String
    private var phase = Phase.new
    private var request = Request(method: "", target: "")
    private var route: Router.Route?
    private var body: BodyCollector?
    private var refusal: Response?
    private var limit = 0
    private var started: MonotonicTime?
    private var status = 499

    init(_ engine: Engine, _ connection: Connection, _ handle: OpaquePointer, target: String) {
        self.engine = engine
        self.connection = connection
        self.handle = handle
        self.target = target
    }

    /// The library's call: first for the head, then for parts of the body, then without one, and again after a
    /// suspension. False closes the connection.
    func advance(_ method: UnsafePointer<CChar>, _ part: UnsafeRawBufferPointer) -> Bool {
        switch phase {
        case .new:
            phase = .receiving
            return begin(String(cString: method))
        case .receiving:
            if part.isEmpty { return dispatch() }
            connection.received(part.count)
            return body?.append(part) ?? true
        case .waiting(let suspension):
            engine.watch.unwatchPeer(of: connection)
            guard let end = suspension.ending else { return false }
            return answer(end)
        case .answered:
            return true
        }
    }

    /// The request is over: answered, or the client left.
    func completed() {
        guard let started else { return }
        if case .waiting(let suspension) = phase { suspension.end(.gone) }
        if engine.config.mode == .threadPerConnection { engine.watch.unwatchPeer(of: connection) }
        connection.rest()
        engine.onAccess?(
            Access(
                method: request.method, route: request.route ?? "", status: status,
                seconds: started.elapsed.inSeconds, requestID: request.id))
        engine.ended()
    }

    private func begin(_ method: String) -> Bool {
        started = .now
        engine.began()
        var headers = Headers()
        withUnsafeMutablePointer(to: &headers) {
            _ = MHD_get_connection_values(handle, .HEADER_KIND, fieldReceived, $0)
        }
        request = Request(method: method, target: target, headers: headers, remoteAddress: connection.peer)
        let isChunked = headers["Transfer-Encoding"] != nil
        let announced = isChunked ? 0 : headers["Content-Length"].flatMap { Int($0) } ?? 0
        guard isChunked || announced > 0 else {
            connection.work()
            refusal = refusalOfHead(announced: 0)
            return true
        }
        connection.awaitBody()
        refusal = refusalOfHead(announced: announced)
        if let refusal, isChunked || announced > Self.worthReading || headers["Expect"] != nil {
            engine.watch.linger(connection.socket)
            return respond(refusal)
        }
        if refusal == nil {
            body = BodyCollector(
                limit: limit, spoolOver: engine.config.spoolBodiesOver, directory: engine.config.spoolDirectory,
                expected: announced)
        }
        return true
    }

    /// What already the head decides.
    private func refusalOfHead(announced: Int) -> Response? {
        do {
            if let refusal = try engine.router.admit?(&request) { return refusal }
        } catch {
            return failed(.thrown(error))
        }
        switch engine.router.match(&request) {
        case .failure(let reason): return failed(reason)
        case .route(let found):
            route = found
            limit = found.maxBody ?? engine.config.maxBody
            return announced > limit ? failed(.bodyTooLarge(limit: limit)) : nil
        }
    }

    private func dispatch() -> Bool {
        connection.work()
        if let refusal { return respond(refusal) }
        guard let route else { return false }
        if let body {
            if body.isTooLarge { return respond(failed(.bodyTooLarge(limit: limit))) }
            if let failure = body.failure { return respond(failed(.thrown(failure))) }
            request.body = body.finish()
            self.body = nil
        }
        if engine.config.mode == .threadPerConnection { engine.watch.watchPeer(of: connection) }
        do {
            switch try route.handler(request) {
            case .response(let response): return respond(response)
            case .later(let timeout, let isWork, let start):
                return suspend(timeout ?? engine.config.laterTimeout, isWork, start)
            case .stream(let status, let headers, let reader): return respond(status, headers, reader)
            }
        } catch {
            return respond(failed(.thrown(error)))
        }
    }

    private func suspend(_ timeout: Duration, _ isWork: Bool, _ start: (Responder) -> Void) -> Bool {
        let blocksThread = engine.config.mode == .threadPerConnection
        let suspension = Suspension(handle, timeout: timeout, isWork: isWork, blocksThread: blocksThread)
        connection.hold(suspension: suspension)
        start(Responder(suspension))
        if !blocksThread, !suspension.isOver {
            phase = .waiting(suspension)
            engine.watch.watchPeer(of: connection)
        }
        guard let end = suspension.wait() else { return true }
        if case .waiting = phase { engine.watch.unwatchPeer(of: connection) }
        return answer(end)
    }

    private func answer(_ end: Suspension.End) -> Bool {
        phase = .answered
        switch end {
        case .answered(let response): return respond(response)
        case .timedOut: return respond(failed(.laterTimedOut))
        case .gone: return false
        }
    }

    private func failed(_ reason: RequestFailure) -> Response {
        let response = engine.router.answer(reason, request)
        if case .thrown(let error) = reason, response.status >= 500 {
            engine.log.error(
                "a request failed",
                [
                    "method": request.method, "route": request.route, "path": request.path,
                    "request_id": request.id.isEmpty ? nil : request.id, "error": "\(error)",
                ])
        }
        return response
    }

    private func respond(_ response: Response) -> Bool {
        var response = response
        engine.router.finish?(&response, request)
        let made = response.body.withUnsafeBytes {
            MHD_create_response_from_buffer(
                $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), .RESPMEM_MUST_COPY)
        }
        return queue(made, response)
    }

    private func respond(_ status: Int, _ headers: Headers, _ reader: any BodyReader) -> Bool {
        var head = Response(status: status, headers: headers)
        engine.router.finish?(&head, request)
        let length = head.headers["Content-Length"].flatMap { UInt64($0) }
        let source = StreamSource(reader, length: length, log: engine.log)
        connection.hold(reader: reader)
        let block = max(engine.config.memory / 2, 4096)
        let made = MHD_create_response_from_callback(
            length ?? UInt64.max, block, readStream, Unmanaged.passRetained(source).toOpaque(), closeStream)
        return queue(made, head)
    }

    /// Hands the answer to the library, whose copy lives as long as it needs it.
    private func queue(_ made: OpaquePointer?, _ response: Response) -> Bool {
        guard let made else {
            engine.log.error("no memory for an answer", ["route": request.route])
            return false
        }
        defer { MHD_destroy_response(made) }
        phase = .answered
        status = response.status
        for (name, value) in response.headers where !Self.isOurs(name, value) {
            if MHD_add_response_header(made, name, value) != .YES {
                engine.log.error("a header of an answer is broken", ["route": request.route, "header": name])
            }
        }
        if engine.isDraining { MHD_add_response_header(made, "Connection", "close") }
        if MHD_queue_response(handle, UInt32(clamping: response.status), made) == .YES { return true }
        engine.log.error("an answer was refused", ["route": request.route, "status": response.status])
        return false
    }

    /// Fields that say how the message is framed: the library's business.
    private static func isOurs(_ name: String, _ value: String) -> Bool {
        switch name.utf8.count {
        case 10: Headers.sameName(name, "Connection") ? !Headers.sameName(value, "close") : isKeepAlive(name)
        case 14: Headers.sameName(name, "Content-Length")
        case 17: Headers.sameName(name, "Transfer-Encoding")
        default: false
        }
    }

    private static func isKeepAlive(_ name: String) -> Bool {
        Headers.sameName(name, "Keep-Alive")
    }
}

/// A reader on its way through the library, with what may still come of a promised length.
private final class StreamSource {
    private let reader: any BodyReader
    private let length: UInt64?
    private let log: Logger

    init(_ reader: any BodyReader, length: UInt64?, log: Logger) {
        self.reader = reader
        self.length = length
        self.log = log
    }

    deinit {
        reader.close()
    }

    /// What the library's callback returns: a count, -1 at the end, -2 to abort the connection.
    func read(into buffer: UnsafeMutableRawBufferPointer, at position: UInt64) -> Int {
        do {
            let count = try reader.read(into: buffer)
            if count > 0 { return count }
            guard let length, position < length else { return -1 }
            log.warning("a stream ended before its promised length", ["bytes": position, "promised": length])
            return -2
        } catch {
            log.warning("a stream broke off", ["bytes": position, "error": "\(error)"])
            return -2
        }
    }
}

private func readStream(
    _ context: UnsafeMutableRawPointer?, _ position: UInt64, _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int
) -> Int {
    guard let context, let buffer else { return -2 }
    let source = Unmanaged<StreamSource>.fromOpaque(context).takeUnretainedValue()
    return source.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: size), at: position)
}

private func closeStream(_ context: UnsafeMutableRawPointer?) {
    if let context { Unmanaged<StreamSource>.fromOpaque(context).release() }
}
