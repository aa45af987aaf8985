import CMicroHTTPD
import Glibc
import HTTPTypes
import Lifecycle
import Telemetry

/// What all requests of a running server share.
final class Engine: Sendable {
    let config: ServerConfig
    let router: Router
    let log: Logger
    let watch: Watch
    let onAccess: (@Sendable (Access) -> Void)?
    /// Requests whose head is there and whose answer is not yet out.
    private let running = Condition(0)
    private let draining = Lock(false)

    init(config: ServerConfig, router: Router, log: Logger, onAccess: (@Sendable (Access) -> Void)?) throws {
        self.config = config
        self.router = router
        self.log = log
        self.onAccess = onAccess
        watch = try Watch(tick: config.tick)
    }

    /// A request will be answered.
    func began() {
        running.withLock { $0 += 1 }
    }

    /// A request is over, whatever became of it.
    func ended() {
        let isLast = running.withLock { count in
            count -= 1
            return count == 0
        }
        if isLast { running.broadcast() }
    }

    /// True once connections end with their answers.
    var isDraining: Bool {
        draining.withLock { $0 }
    }

    /// From now on connections end with their answers.
    func beginDraining() {
        draining.withLock { $0 = true }
    }

    /// Answers what waits, closes what is idle, and blocks until no request runs. Returns how many still do.
    func drain() -> Int {
        watch.drain()
        if isIdle(within: config.drainTimeout) { return 0 }
        watch.cutAll()
        if isIdle(within: .milliseconds(500)) { return 0 }
        return running.withLock { $0 }
    }

    private func isIdle(within time: Duration) -> Bool {
        running.wait(timeout: time) { $0 == 0 ? true : nil } ?? false
    }
}

// The library calls these from its own threads. Plain functions, because a closure would carry the actor it was written
// in with it.

/// A connection began or ended.
func connectionChanged(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ change: MHD_ConnectionNotificationCode
) {
    guard let context, let connection, let slot else { return }
    let engine = Unmanaged<Engine>.fromOpaque(context).takeUnretainedValue()
    if change == .CONNECTION_NOTIFY_STARTED {
        let socket = bg_mhd_socket(connection)
        let peer = bg_mhd_peer(connection).map(addressText) ?? ""
        let state = engine.watch.enter { Connection(id: $0, socket: socket, peer: peer, config: engine.config) }
        slot.pointee = Unmanaged.passRetained(state).toOpaque()
    } else if let held = slot.pointee {
        slot.pointee = nil
        engine.watch.exit(Unmanaged<Connection>.fromOpaque(held).takeRetainedValue())
    }
}

/// The first line of a request is there: the only moment at which the library shows the whole target.
func targetReceived(
    _ context: UnsafeMutableRawPointer?, _ target: UnsafePointer<CChar>?, _ connection: OpaquePointer?
) -> UnsafeMutableRawPointer? {
    guard let context, let target, let connection, let held = bg_mhd_connection_context(connection) else { return nil }
    let engine = Unmanaged<Engine>.fromOpaque(context).takeUnretainedValue()
    let state = Unmanaged<Connection>.fromOpaque(held).takeUnretainedValue()
    let exchange = Exchange(engine, state, connection, target: String(cString: target))
    return Unmanaged.passRetained(exchange).toOpaque()
}

/// The head is there, a part of the body, its end, or a suspended connection runs again.
func requestAdvanced(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ url: UnsafePointer<CChar>?,
    _ method: UnsafePointer<CChar>?, _ version: UnsafePointer<CChar>?, _ upload: UnsafePointer<CChar>?,
    _ uploadSize: UnsafeMutablePointer<Int>?, _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let held = slot?.pointee, let method, let uploadSize else { return .NO }
    let exchange = Unmanaged<Exchange>.fromOpaque(held).takeUnretainedValue()
    let part = UnsafeRawBufferPointer(start: upload, count: uploadSize.pointee)
    uploadSize.pointee = 0
    return exchange.advance(method, part) ? .YES : .NO
}

/// The request is over.
func requestCompleted(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ reason: MHD_RequestTerminationCode
) {
    guard let slot, let held = slot.pointee else { return }
    slot.pointee = nil
    Unmanaged<Exchange>.fromOpaque(held).takeRetainedValue().completed()
}

/// Leaves the URL as it was sent: escapes are resolved after the path is split.
func keepEscapes(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?
) -> Int {
    text.map { strlen($0) } ?? 0
}

/// One header field of a request.
func fieldReceived(
    _ context: UnsafeMutableRawPointer?, _ kind: MHD_ValueKind, _ name: UnsafePointer<CChar>?,
    _ value: UnsafePointer<CChar>?
) -> MHD_Result {
    guard let context, let name else { return .NO }
    let headers = context.assumingMemoryBound(to: Headers.self)
    headers.pointee.append((String(cString: name), value.map { String(cString: $0) } ?? ""))
    return .YES
}
