import Glibc
import HTTPTypes
import Threads

/// A loopback HTTP server that answers as a test says, and can fail as networks do: lose an answer, go away, come
/// back on the same port. One connection at a time, closed after each answer.
final class ScriptedServer: Sendable {
    struct Request: Sendable {
        let method: String
        let path: String
        let query: [String: String]
        let headers: Headers
        let body: String
    }

    enum Answer: Sendable {
        case json(Int, String, Headers = [])
        /// The request is read, the connection closed without a word: the answer was lost.
        case lost
    }

    struct Failure: Error {
        let step: String
        let code = errno
    }

    private struct State {
        var listener: Int32 = -1
        var thread: NamedThread?
        var requests: [Request] = []
    }

    let port: UInt16
    private let state = Lock(State())
    private let handler: @Sendable (Request) -> Answer

    init(_ handler: @escaping @Sendable (Request) -> Answer) throws {
        self.handler = handler
        let (listener, port) = try Self.listen(port: 0)
        self.port = port
        try serve(listener)
    }

    deinit { stop() }

    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { state.withLock { $0.requests } }

    /// Goes away: connections are refused until ``restart()``.
    func stop() {
        let (listener, thread) = state.withLock { state in
            defer { (state.listener, state.thread) = (-1, nil) }
            return (state.listener, state.thread)
        }
        guard listener >= 0 else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        thread?.join()
        close(listener)
    }

    /// Comes back on the same port.
    func restart() throws {
        try serve(try Self.listen(port: port).descriptor)
    }

    private func serve(_ listener: Int32) throws {
        let thread = try NamedThread("scripted") { [handler, state] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                if let request = Self.read(client) {
                    state.withLock { $0.requests.append(request) }
                    if case .json(let status, let body, let headers) = handler(request) {
                        Self.write(client, status, body, headers)
                    }
                }
                close(client)
            }
        }
        state.withLock { ($0.listener, $0.thread) = (listener, thread) }
    }

    // MARK: - Sockets

    private static func listen(port: UInt16) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        guard descriptor >= 0 else { throw Failure(step: "socket") }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && Glibc.listen(descriptor, 16) == 0
                    && getsockname(descriptor, address, &length) == 0
            }
        }
        guard isBound else {
            close(descriptor)
            throw Failure(step: "bind")
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    private static func read(_ client: Int32) -> Request? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            if let request = parse(bytes) { return request }
            let count = recv(client, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes += buffer[..<count]
        }
    }

    /// The request, once all of it is there.
    private static func parse(_ bytes: [UInt8]) -> Request? {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { return nil }
        let lines = text[..<end.lowerBound].split(separator: "\r\n").map(String.init)
        var headers = Headers()
        for line in lines.dropFirst() {
            let sides = line.split(separator: ":", maxSplits: 1)
            headers.append((String(sides[0]), sides.count > 1 ? String(sides[1].drop { $0 == " " }) : ""))
        }
        let body = String(text[end.upperBound...])
        guard body.utf8.count >= headers["Content-Length"].flatMap({ Int($0) }) ?? 0 else { return nil }
        let words = lines[0].split(separator: " ").map(String.init)
        let target = words[1].split(separator: "?", maxSplits: 1).map(String.init)
        let query = Percent.decodeQuery(target.count > 1 ? target[1] : "") ?? []
        return Request(
            method: words[0], path: target[0], query: Dictionary(query) { $1 }, headers: headers, body: body)
    }

    private static func write(_ client: Int32, _ status: Int, _ body: String, _ headers: Headers) {
        let more = headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        let head = "HTTP/1.1 \(status) X\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\(more)\r\n"
        var rest = Array((head + body).utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

extension String {
    /// Where `part` first stands.
    func range(of part: String) -> Range<String.Index>? {
        let pattern = Array(part.utf8)
        var start = utf8.startIndex
        while start != utf8.endIndex {
            if utf8[start...].starts(with: pattern) {
                return start..<utf8.index(start, offsetBy: pattern.count)
            }
            start = utf8.index(after: start)
        }
        return nil
    }
}
