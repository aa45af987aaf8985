import Glibc
import Lifecycle

/// The other end of one connection: says what a test's script wants. Waits at most ten seconds for anything.
final class Peer {
    enum Failure: Error {
        case closed
    }

    /// A request as it came.
    struct Received {
        var line: String
        var fields: [String]
        var body: String
    }

    private let socket: Int32
    private var buffer: [UInt8] = []

    init(_ socket: Int32) {
        self.socket = socket
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit {
        Glibc.close(socket)
    }

    func send(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { throw Failure.closed }
            rest = rest.dropFirst(sent)
        }
    }

    private func fill() throws {
        var part = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &part, part.count, 0)
        guard count > 0 else { throw Failure.closed }
        buffer.append(contentsOf: part.prefix(count))
    }

    /// Blocks until the client has closed the connection.
    func awaitEnd() {
        while (try? fill()) != nil {}
    }

    func line() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let text = String(decoding: buffer[..<end].filter { $0 != 13 }, as: UTF8.self)
                buffer.removeSubrange(...end)
                return text
            }
            try fill()
        }
    }

    /// One HTTP request, whole.
    func request() throws -> Received {
        var received = Received(line: try line(), fields: [], body: "")
        while case let field = try line(), !field.isEmpty { received.fields.append(field) }
        let length = received.fields.first { $0.hasPrefix("Content-Length: ") }.flatMap { Int($0.dropFirst(16)) } ?? 0
        while buffer.count < length { try fill() }
        received.body = String(decoding: buffer[..<length], as: UTF8.self)
        buffer.removeFirst(length)
        return received
    }

    /// A whole response with that body.
    func respond(_ status: String = "200 OK", fields: String = "", _ body: String = "") throws {
        try send("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }
}

/// A server on the loopback that plays a script for each connection, on a thread of its own.
final class Loopback: Sendable {
    let port: Int
    /// How many connections came.
    let connections = Condition(0)
    private let listener: Int32

    /// - Parameter script: gets the connection and its number, from 1. The connection ends with it.
    init(unixSocket path: String? = nil, _ script: @escaping @Sendable (Peer, Int) throws -> Void) throws {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let listener = socket(path == nil ? AF_INET : AF_UNIX, kind, 0)
        self.listener = listener
        if let path {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            _ = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            port = 0
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(listener, $0, length)
                    _ = getsockname(listener, $0, &length)
                }
            }
            port = Int(address.sin_port.bigEndian)
        }
        listen(listener, 64)
        let connections = connections
        _ = try NamedThread("loopback") {
            while case let socket = accept(listener, nil, nil), socket >= 0 {
                let number = connections.update { count in
                    count += 1
                    return count
                }
                _ = try? NamedThread("peer") { try? script(Peer(socket), number) }
            }
            close(listener)
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
    }

    var url: String {
        "http://127.0.0.1:\(port)"
    }

    /// How many connections have come so far.
    var count: Int {
        connections.withLock { $0 }
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
