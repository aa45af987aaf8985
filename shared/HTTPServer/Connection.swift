import CMicroHTTPD
import Glibc
import HTTPTypes
import Lifecycle

/// What the server knows of one connection, from its start to its end.
final class Connection: Sendable {
    /// What the client, or the server, is at.
    enum Phase {
        /// Between requests, or inside the head of one.
        case head
        case body
        /// The handler runs, or its answer is on its way.
        case working
    }

    private struct State {
        var phase = Phase.head
        var deadline: MonotonicTime?
        var received = 0
        var isGone = false
        var suspension: Suspension?
        var reader: (any BodyReader)?
    }

    let id: UInt64
    let socket: Int32
    let peer: String
    private let config: ServerConfig
    private let state: Lock<State>

    init(id: UInt64, socket: Int32, peer: String, config: ServerConfig) {
        self.id = id
        self.socket = socket
        self.peer = peer
        self.config = config
        var state = State()
        state.deadline = .now + config.headTimeout
        self.state = Lock(state)
        // The kernel ends connections whose peer takes nothing any more: the library's own timeout would also end
        // those whose handler is merely slow.
        var milliseconds = UInt32(clamping: config.writeTimeout.wholeMilliseconds)
        setsockopt(socket, Int32(IPPROTO_TCP), bg_tcp_user_timeout, &milliseconds, socklen_t(4))
    }

    /// The body is awaited.
    func awaitBody() {
        state.withLock { state in
            state.phase = .body
            state.received = 0
            state.deadline = .now + config.bodyTimeout
        }
    }

    /// A part of the body came in.
    func received(_ count: Int) {
        state.withLock { $0.received += count }
    }

    /// The handler has the word; no deadline of the connection's runs.
    func work() {
        state.withLock { state in
            state.phase = .working
            state.deadline = nil
        }
    }

    /// The request is over; the next one may come.
    func rest() {
        state.withLock { state in
            state.phase = .head
            state.deadline = .now + config.idleTimeout
            state.suspension = nil
            state.reader = nil
        }
    }

    /// Names what has to hear of it when the client leaves. Heard at once when it has left already.
    func hold(suspension: Suspension) {
        let isGone = state.withLock { state in
            state.suspension = suspension
            return state.isGone
        }
        if isGone { suspension.end(.gone) }
    }

    /// Names what has to hear of it when the client leaves. Heard at once when it has left already.
    func hold(reader: any BodyReader) {
        let isGone = state.withLock { state in
            state.reader = reader
            return state.isGone
        }
        if isGone { reader.cancel() }
    }

    /// The client has left, or has to: whatever waits for it ends.
    func leave() {
        let (suspension, reader) = state.withLock { state in
            state.isGone = true
            return (state.suspension, state.reader)
        }
        suspension?.end(.gone)
        reader?.cancel()
    }

    /// Looks at the deadlines, and returns the late answer whose time is up. The caller makes sure that the socket is
    /// not closed meanwhile.
    func check(_ now: MonotonicTime, isDraining: Bool) -> Suspension? {
        state.withLock { state in
            if let suspension = state.suspension {
                return (isDraining && !suspension.isWork) || suspension.deadline <= now ? suspension : nil
            }
            switch state.phase {
            case .working: break
            case .head where isDraining:
                // What has arrived is still read, and answered.
                shutdown(socket, Int32(SHUT_RD))
            case .head: close(&state, at: state.deadline, now)
            case .body:
                let more = Duration.seconds(Double(state.received) / Double(max(config.bodyRate, 1)))
                close(&state, at: state.deadline.map { $0 + more }, now)
            }
            return nil
        }
    }

    private func close(_ state: inout State, at deadline: MonotonicTime?, _ now: MonotonicTime) {
        guard let deadline, deadline <= now else { return }
        shutdown(socket, Int32(SHUT_RDWR))
        state.deadline = nil
    }
}
