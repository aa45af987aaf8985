import CLinux
import CMicroHTTPD
import Glibc
import Lifecycle

/// Watches all connections of a server from one thread: deadlines, clients that leave, the rest of refused bodies.
final class Watch: Sendable {
    /// Refused clients may send this much more, for this long, before they lose the connection with their answer.
    private static let lingerBytes = 2 << 20
    private static let lingerTime = Duration.seconds(2)
    /// Marks events of lingering sockets; the rest of the number is the descriptor.
    private static let lingering: UInt64 = 1 << 63

    private struct Linger {
        let deadline: MonotonicTime
        var left: Int
    }

    private struct State {
        var connections: [UInt64: Connection] = [:]
        var lingers: [Int32: Linger] = [:]
        var isDraining = false
        var isStopped = false
        var lastID: UInt64 = 0
    }

    private let epoll: Int32
    private let wake: Int32
    private let tick: Duration
    private let state = Lock(State())
    private let thread = Lock<NamedThread?>(nil)

    init(tick: Duration) throws {
        self.tick = tick
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wake = linux_eventfd()
        guard epoll >= 0, wake >= 0 else { throw ServerError("no descriptors left to watch connections with") }
        add(wake, events: bg_readable, id: 0)
    }

    deinit {
        close(epoll)
        close(wake)
    }

    /// Starts the thread; `stop` ends it.
    func start() throws {
        let started = try NamedThread("http-watch") { self.loop() }
        thread.withLock { $0 = started }
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        linux_eventfd_wake(wake)
        thread.withLock { $0 }?.join()
        state.withLock { state in
            for socket in state.lingers.keys { close(socket) }
            state.lingers = [:]
        }
    }

    /// From now on idle connections are closed, and late answers that are no work time out at once.
    func drain() {
        state.withLock { $0.isDraining = true }
        linux_eventfd_wake(wake)
    }

    /// A connection began.
    func enter(_ make: (UInt64) -> Connection) -> Connection {
        state.withLock { state in
            state.lastID += 1
            let connection = make(state.lastID)
            state.connections[state.lastID] = connection
            return connection
        }
    }

    /// A connection ends; its socket is still open here, and may be closed after.
    func exit(_ connection: Connection) {
        state.withLock { _ = $0.connections.removeValue(forKey: connection.id) }
    }

    /// How many connections there are.
    var count: Int {
        state.withLock { $0.connections.count }
    }

    /// Tells the connection once when its client leaves.
    func watchPeer(of connection: Connection) {
        add(connection.socket, events: bg_peer_closed, id: connection.id)
    }

    func unwatchPeer(of connection: Connection) {
        var event = epoll_event()
        epoll_ctl(epoll, EPOLL_CTL_DEL, connection.socket, &event)
    }

    /// Cuts every connection and whatever waits for it.
    func cutAll() {
        // The lock is held so that no socket is closed, and its number given to another, while it is cut.
        let all = state.withLock { state in
            for connection in state.connections.values { shutdown(connection.socket, Int32(SHUT_RDWR)) }
            return Array(state.connections.values)
        }
        for connection in all { connection.leave() }
    }

    /// Swallows what a refused client still sends. Closing a socket with unread bytes makes the kernel reset it, and the
    /// client would lose the answer it has not read yet.
    func linger(_ socket: Int32) {
        let copy = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else { return }
        let linger = Linger(deadline: .now + Self.lingerTime, left: Self.lingerBytes)
        state.withLock { $0.lingers[copy] = linger }
        add(copy, events: bg_readable, id: Self.lingering | UInt64(copy))
    }

    private func add(_ socket: Int32, events: UInt32, id: UInt64) {
        var event = epoll_event()
        event.events = events
        event.data.u64 = id
        epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event)
    }

    private func loop() {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        var next = MonotonicTime.now + tick
        while !state.withLock({ $0.isStopped }) {
            let wait = max((next - .now).wholeMilliseconds, 0)
            let count = epoll_wait(epoll, &events, Int32(events.count), Int32(clamping: wait))
            for event in events.prefix(Int(max(count, 0))) { happened(event.data.u64) }
            if next <= .now {
                sweep()
                next = .now + tick
            }
        }
    }

    private func happened(_ id: UInt64) {
        if id == 0 {
            _ = linux_eventfd_drain(wake)
            sweep()
        } else if id & Self.lingering != 0 {
            swallow(Int32(truncatingIfNeeded: id & ~Self.lingering))
        } else {
            state.withLock { $0.connections[id] }?.leave()
        }
    }

    private func sweep() {
        let late = state.withLock { state in
            let now = MonotonicTime.now
            let late = state.connections.values.compactMap { $0.check(now, isDraining: state.isDraining) }
            for (socket, linger) in state.lingers where linger.deadline <= now || state.isDraining {
                close(socket)
                state.lingers[socket] = nil
            }
            return late
        }
        for suspension in late { suspension.end(.timedOut) }
    }

    private func swallow(_ socket: Int32) {
        state.withLock { state in
            guard var linger = state.lingers[socket] else { return }
            let count = withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
                recv(socket, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            }
            if count < 0, errno == EAGAIN { return }
            linger.left -= max(count, 0)
            if count <= 0 || linger.left <= 0 {
                close(socket)
                state.lingers[socket] = nil
            } else {
                state.lingers[socket] = linger
            }
        }
    }
}
