import CMicroHTTPD
import HTTPTypes
import Lifecycle

/// An answer that comes later: what a `Responder` of a live server talks to.
///
/// In pool mode the connection is taken out of the library's loop and put back when the answer is there; with a thread
/// for each connection that thread waits here.
final class Suspension: ReplyTarget, @unchecked Sendable {
    // Sendable because the connection is touched by whoever ends the waiting, and only one can.
    enum End {
        case answered(Response)
        case timedOut
        /// The client left.
        case gone
    }

    private enum Phase {
        /// The handler's closure still runs.
        case starting
        case waiting
        case over(End)
    }

    private struct State {
        var phase = Phase.starting
        var abandoned: [@Sendable () -> Void] = []
    }

    private let connection: OpaquePointer
    /// When the failure hook answers instead.
    let deadline: MonotonicTime
    /// Whether the answer is being made, not waited for.
    let isWork: Bool
    private let blocksThread: Bool
    private let state = Condition(State())

    init(_ connection: OpaquePointer, timeout: Duration, isWork: Bool, blocksThread: Bool) {
        self.connection = connection
        self.isWork = isWork
        deadline = .now + timeout
        self.blocksThread = blocksThread
    }

    func send(_ response: Response) -> Bool {
        end(.answered(response))
    }

    var isOver: Bool {
        ending != nil
    }

    func whenAbandoned(_ body: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            switch state.phase {
            case .over(.answered): return false
            case .over: return true
            case .starting, .waiting:
                state.abandoned.append(body)
                return false
            }
        }
        if isLate { body() }
    }

    /// How it ended, once it has.
    var ending: End? {
        state.withLock { state in
            if case .over(let end) = state.phase { return end }
            return nil
        }
    }

    /// Called by the handler's thread when the closure has returned. Returns the end when there is one: at once, or,
    /// with a thread for each connection, after waiting for it. Nil = the library calls again after the end.
    func wait() -> End? {
        if blocksThread {
            return state.wait { state in
                if case .over(let end) = state.phase { return end }
                state.phase = .waiting
                return nil
            }
        }
        return state.withLock { state in
            if case .over(let end) = state.phase { return end }
            MHD_suspend_connection(connection)
            state.phase = .waiting
            return nil
        }
    }

    /// Ends the waiting if nothing has ended it before.
    @discardableResult
    func end(_ end: End) -> Bool {
        let (isFirst, wasWaiting, abandoned) = state.update { state -> (Bool, Bool, [@Sendable () -> Void]) in
            if case .over = state.phase { return (false, false, []) }
            var wasWaiting = false
            if case .waiting = state.phase { wasWaiting = true }
            state.phase = .over(end)
            defer { state.abandoned = [] }
            if case .answered = end { return (true, wasWaiting, []) }
            return (true, wasWaiting, state.abandoned)
        }
        for body in abandoned { body() }
        // The connection is still suspended here: nobody but the one that ended the waiting may resume it.
        if wasWaiting, !blocksThread { MHD_resume_connection(connection) }
        return isFirst
    }
}
