import Glibc
import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry

/// What went wrong on the wire.
enum WireError: Error {
    case connect(Int32)
    case timeout
    case reset
    case malformed(String)
}

/// A client at the level of bytes. Waits at most half a minute for anything.
final class Wire {
    private let socket: Int32
    private var buffer: [UInt8] = []

    init(_ port: Int, receiveBuffer: Int32? = nil) throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var size = receiveBuffer { setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(4)) }
        var patience = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw WireError.connect(errno) }
    }

    deinit {
        Glibc.close(socket)
    }

    func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { throw WireError.reset }
            rest = rest.dropFirst(sent)
        }
    }

    /// Sends a request without more headers than it needs.
    func request(_ method: String, _ target: String, headers: String = "", body: String = "") throws {
        let length = body.isEmpty ? "" : "Content-Length: \(body.utf8.count)\r\n"
        try send("\(method) \(target) HTTP/1.1\r\nHost: test\r\n\(headers)\(length)\r\n\(body)")
    }

    /// Says that nothing more will be sent.
    func finishSending() {
        shutdown(socket, Int32(SHUT_WR))
    }

    /// True when more bytes came, false at the end of the connection.
    private func fill() throws -> Bool {
        var part = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &part, part.count, 0)
        if count < 0 { throw errno == EAGAIN ? WireError.timeout : WireError.reset }
        buffer.append(contentsOf: part.prefix(count))
        return count > 0
    }

    /// Everything up to the end of the connection.
    func rest() throws -> String {
        while try fill() {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    /// True when the server ends the connection without a further byte.
    func isClosed() throws -> Bool {
        do {
            return try !fill() && buffer.isEmpty
        } catch WireError.reset {
            return buffer.isEmpty
        }
    }

    /// True when something came, or the connection ended, within that time.
    func isReadable(within time: Duration) -> Bool {
        var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, Int32(time.wholeMilliseconds)) > 0
    }

    /// One line without its end.
    func line() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let text = String(decoding: buffer[..<end].filter { $0 != 13 }, as: UTF8.self)
                buffer.removeSubrange(...end)
                return text
            }
            guard try fill() else { throw WireError.malformed("the connection ended inside a line") }
        }
    }

    func bytes(_ count: Int) throws -> [UInt8] {
        while buffer.count < count {
            guard try fill() else { throw WireError.malformed("the connection ended inside a body") }
        }
        defer { buffer.removeFirst(count) }
        return Array(buffer[..<count])
    }

    /// Status line and headers.
    func head() throws -> Response {
        let status = try line().split(separator: " ")
        guard status.count > 1, let code = Int(status[1]) else { throw WireError.malformed("no status line") }
        var response = Response(status: code)
        while true {
            let field = try line()
            if field.isEmpty { return response }
            let sides = field.split(separator: ":", maxSplits: 1)
            response.headers.append((String(sides[0]), String(sides[1].drop { $0 == " " })))
        }
    }

    /// One chunk of a chunked body; empty at its end.
    func chunk() throws -> [UInt8] {
        guard let size = Int(try line(), radix: 16) else { throw WireError.malformed("no chunk size") }
        let part = try bytes(size)
        _ = try line()
        return part
    }

    /// A whole response; interim ones are skipped.
    func response(to method: String = "GET") throws -> Response {
        var response = try head()
        while response.status < 200 { response = try head() }
        if method == "HEAD" || response.status == 204 || response.status == 304 { return response }
        if let length = response.headers["Content-Length"].flatMap({ Int($0) }) {
            response.body = try bytes(length)
        } else if response.headers["Transfer-Encoding"] != nil {
            while true {
                let part = try chunk()
                if part.isEmpty { break }
                response.body += part
            }
        } else {
            while try fill() {}
            response.body = buffer
        }
        return response
    }

    /// A request and its response.
    func exchange(_ method: String, _ target: String, headers: String = "", body: String = "") throws -> Response {
        try request(method, target, headers: headers, body: body)
        return try response(to: method)
    }
}

extension Response {
    var text: String {
        String(decoding: body, as: UTF8.self)
    }
}

/// Runs a server for the length of `body`, which may block: it has a thread of its own.
func withServer<Result: Sendable>(
    _ router: Router, log: Logger = .silent, onAccess: (@Sendable (Access) -> Void)? = nil,
    _ configure: (inout ServerConfig) -> Void = { _ in }, _ body: @escaping @Sendable (Server) throws -> Result
) async throws -> Result {
    var config = ServerConfig()
    // A busy machine may stand still for longer than the product waits for a head; tests of that time set their own.
    config.headTimeout = .seconds(120)
    configure(&config)
    let server = try Server(config, router, log: log, onAccess: onAccess)
    return try await onThread {
        try server.start()
        defer { server.stop() }
        return try body(server)
    }
}

/// Runs what blocks on a thread of its own, because the cooperative pool is everybody's.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Result, any Error>) in
        do {
            _ = try NamedThread("test") { continuation.resume(with: Swift.Result { try body() }) }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}

/// Lets one thread tell another that something has happened.
final class Flag: Sendable {
    private let state = Condition(false)

    func raise() {
        state.update { $0 = true }
    }

    /// True when it was raised within ten seconds.
    func wait() -> Bool {
        state.wait(timeout: .seconds(10)) { $0 ? true : nil } ?? false
    }
}
