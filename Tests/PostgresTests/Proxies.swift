import Glibc
import Lifecycle

/// Forwards bytes both ways until it falls silent: then connections stand, and nothing comes through any more.
final class SilentProxy: Sendable {
    private let port: Port
    private let isSilent: Lock<Bool>

    var url: String { port.url }

    init(to url: String) throws {
        let isSilent = Lock(false)
        self.isSilent = isSilent
        port = try Port(inFrontOf: url) { port, client in
            let server = port.connectToServer()
            var entries = [client, server].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            var buffer = [UInt8](repeating: 0, count: 65536)
            while poll(&entries, 2, -1) >= 0 {
                for (source, target) in [(0, server), (1, client)] where entries[source].revents != 0 {
                    let count = recv(entries[source].fd, &buffer, buffer.count, 0)
                    guard count > 0 else { return }
                    if !isSilent.withLock({ $0 }) { transmit(target, Array(buffer[..<count])) }
                }
            }
        }
    }

    func fallSilent() {
        isSilent.withLock { $0 = true }
    }

    func stop() {
        port.stop()
    }
}

/// A pooler that lends a server session for one transaction at a time, as far as it takes to be one.
///
/// Every client brings one session into the pool by its handshake; each flight (what a client sends up to Sync) goes to
/// the session that was used last and is free, unless the client's own transaction is still open.
final class LendingPooler: Sendable {
    private let port: Port

    var url: String { port.url }

    init(to url: String) throws {
        let free = Lock<[Int32]>([])
        port = try Port(inFrontOf: url) { port, client in
            Self.handshake(client, with: port.connectToServer(), free)
            var lent: Int32?
            while let flight = Self.flight(from: client) {
                guard let server = lent ?? free.withLock({ $0.popLast() }) else { return }
                transmit(server, flight)
                guard let status = Self.answer(from: server, to: client) else { return }
                lent = status == UInt8(ascii: "I") ? nil : server
                if lent == nil { free.withLock { $0.append(server) } }
            }
            if let lent { shutdown(lent, Int32(SHUT_RDWR)) }
        }
    }

    func stop() {
        port.stop()
    }

    private static func handshake(_ client: Int32, with server: Int32, _ free: Lock<[Int32]>) {
        while let length = receive(client, 4), let rest = receive(client, Self.number(length) - 4) {
            // A request for TLS or GSS encryption comes first; the start of the session follows a refusal.
            guard rest.count == 4 else {
                transmit(server, length + rest)
                if Self.answer(from: server, to: client) != nil { free.withLock { $0.insert(server, at: 0) } }
                return
            }
            transmit(client, [UInt8(ascii: "N")])
        }
    }

    /// What the client sends, up to and with Sync; nil at its end.
    private static func flight(from client: Int32) -> [UInt8]? {
        var flight: [UInt8] = []
        while let head = receive(client, 5), let body = receive(client, Self.number(Array(head[1...])) - 4) {
            if head[0] == UInt8(ascii: "X") { return nil }
            flight += head + body
            if head[0] == UInt8(ascii: "S") { return flight }
        }
        return nil
    }

    /// Passes on what the server answers, up to and with ReadyForQuery, and returns its status byte.
    private static func answer(from server: Int32, to client: Int32) -> UInt8? {
        while let head = receive(server, 5), var body = receive(server, Self.number(Array(head[1...])) - 4) {
            // The process it names to the client is its own invention, as with every pooler.
            if head[0] == UInt8(ascii: "K") { body[3] ^= 0xff }
            transmit(client, head + body)
            if head[0] == UInt8(ascii: "Z") { return body.first }
        }
        return nil
    }

    private static func number(_ bytes: [UInt8]) -> Int {
        bytes.reduce(0) { $0 << 8 | Int($1) }
    }
}
