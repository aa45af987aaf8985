import FoundationEssentials
import Glibc
import Lifecycle
import TestSupport

/// A port of this machine behind which a test plays the network, or a proxy, in front of the real server.
final class Port: Sendable {
    /// The server's URL with this port in place of its own.
    let url: String
    private let listening: Int32
    private let serverPort: UInt16
    private let open = Lock<[Int32]>([])
    private let threads = Lock<[NamedThread]>([])

    /// Serves each client on a thread of its own with `serve(client)`.
    init(inFrontOf serverURL: String, _ serve: @escaping @Sendable (Port, Int32) -> Void) throws {
        guard var parts = URLComponents(string: serverURL) else { throw NoPort() }
        serverPort = UInt16(parts.port ?? 5432)
        let listening = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listening = listening
        var address = Self.address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listening, $0, length) == 0 && listen(listening, 16) == 0
                    && getsockname(listening, $0, &length) == 0
            }
        }
        guard bound else { throw NoPort() }
        parts.host = "127.0.0.1"
        parts.port = Int(UInt16(bigEndian: address.sin_port))
        guard let text = parts.string else { throw NoPort() }
        url = text
        let accepting = try NamedThread("accept") { [self] in
            while true {
                let client = accept(listening, nil, nil)
                guard client >= 0 else { return }
                open.withLock { $0.append(client) }
                if let thread = try? NamedThread("client", { serve(self, client) }) {
                    threads.withLock { $0.append(thread) }
                }
            }
        }
        threads.withLock { $0.append(accepting) }
    }

    /// A connection to the real server, closed with the port.
    func connectToServer() -> Int32 {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.address(serverPort)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = Glibc.connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        open.withLock { $0.append(server) }
        return server
    }

    /// Ends every connection, waits for the threads, and frees the descriptors.
    func stop() {
        shutdown(listening, Int32(SHUT_RDWR))
        while let thread = threads.withLock({ $0.popLast() }) {
            for descriptor in open.withLock({ $0 }) { shutdown(descriptor, Int32(SHUT_RDWR)) }
            thread.join()
        }
        for descriptor in open.withLock({ $0 }) { close(descriptor) }
        close(listening)
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private struct NoPort: Error {}
}

/// Exactly `count` bytes, or nil at the end of the stream.
func receive(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var filled = 0
    while filled < count {
        let got = bytes.withUnsafeMutableBytes { buffer in
            recv(descriptor, buffer.baseAddress?.advanced(by: filled), count - filled, 0)
        }
        guard got > 0 else { return nil }
        filled += got
    }
    return bytes
}

/// All the bytes; an end of the stream shows at the next `receive`.
func transmit(_ descriptor: Int32, _ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let sent = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent > 0 else { return }
        rest = rest.dropFirst(sent)
    }
}
