import AMQP
import Glibc
import Lifecycle

/// A TCP line between one client and the broker that a test can freeze, cut, or speak into.
final class LineToBroker: Sendable {
    /// A socket call failed.
    struct Failure: Error {
        let call: String
        let code = errno
    }

    private struct State {
        var isFrozen = false
        var isClosed = false
        var client: Int32 = -1
        var broker: Int32 = -1
    }

    private let state = Condition(State())
    private let listener: Int32
    private let lent = Lock<[NamedThread]>([])
    /// The URL that leads to the broker through this line.
    let url: String

    /// Listens; the line to the broker is made when a client connects.
    init(to amqpURL: String) throws {
        let broker = try AMQPConfig(url: amqpURL)
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard listener >= 0 else { throw Failure(call: "socket") }
        var address = Self.loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isListening else { throw Failure(call: "bind") }
        let port = UInt16(bigEndian: address.sin_port)
        url = "amqp://\(broker.user):\(broker.password)@127.0.0.1:\(port)/\(broker.vhost)"
        let thread = try NamedThread("line-accept") { [self] in connect(toPort: UInt16(broker.port)) }
        lent.withLock { $0.append(thread) }
    }

    /// From now on bytes are held back, in both directions.
    func freeze() {
        state.update { $0.isFrozen = true }
    }

    /// Lets bytes pass again.
    func thaw() {
        state.update { $0.isFrozen = false }
    }

    /// Sends bytes to the client as if the broker had.
    func speak(_ bytes: [UInt8]) {
        let client = state.withLock { $0.client }
        _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Cuts the line.
    func cut() {
        state.update { state in
            state.isClosed = true
            for descriptor in [state.client, state.broker] where descriptor >= 0 {
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
        }
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// Cuts the line and waits, on a thread of its own, until nothing of it is left.
    func close() async {
        cut()
        let threads = IOThreads(name: "line-close", count: 1)
        try? await threads.run { [self] in
            var count = 0
            while let thread = lent.withLock({ count < $0.count ? $0[count] : nil }) {
                thread.join()
                count += 1
            }
            state.withLock { state in
                for descriptor in [listener, state.client, state.broker] where descriptor >= 0 {
                    Glibc.close(descriptor)
                }
            }
        }
        await threads.stopped()
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    private func connect(toPort port: UInt16) {
        let client = accept(listener, nil, nil)
        let broker = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(port: port)
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(broker, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        state.update { ($0.client, $0.broker) = (client, broker) }
        guard client >= 0, isConnected else { return cut() }
        for (source, target) in [(client, broker), (broker, client)] {
            let thread = try? NamedThread("line-pump") { [self] in pump(source, target) }
            if let thread { lent.withLock { $0.append(thread) } }
        }
    }

    private func pump(_ source: Int32, _ target: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(source, &buffer, buffer.count)
            let isOpen = state.wait { state in state.isClosed ? false : state.isFrozen ? nil : true } ?? false
            guard count > 0, isOpen else { return cut() }
            var sent = 0
            while sent < count {
                let more = buffer[sent..<count].withUnsafeBytes {
                    send(target, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard more > 0 else { return cut() }
                sent += more
            }
        }
    }
}

/// Runs a test with a line to the broker and takes the line down afterwards.
func withLine<Result>(
    to url: String, isolation: isolated (any Actor)? = #isolation, _ body: (LineToBroker) async throws -> Result
) async throws -> Result {
    let line = try LineToBroker(to: url)
    do {
        let result = try await body(line)
        await line.close()
        return result
    } catch {
        await line.close()
        throw error
    }
}
