import CLinux
import Glibc
import Lifecycle

/// Called once, on the loop's thread, with what a command came to. It must not block.
typealias Completion<Value> = @Sendable (Result<Value, AMQPError>) -> Void

/// What other threads ask of a `FrameLoop`.
enum Command: Sendable {
    case publish([Publishing], Completion<[PublishResult]>)
    case call([MethodCall], Completion<[Reply]>)
    case consume(ConsumerOrder, Completion<UInt16>)
    case ack([UInt64])
    case reject(UInt64, requeue: Bool)
    case closeConsumer(UInt16, @Sendable () -> Void)
    case close(@Sendable () -> Void)

    /// Completes a command that will not be carried out.
    func refuse(_ error: AMQPError) {
        switch self {
        case .publish(_, let complete): complete(.failure(error))
        case .call(_, let complete): complete(.failure(error))
        case .consume(let order, let complete):
            order.state.fail(error)
            complete(.failure(error))
        case .ack, .reject: break
        case .closeConsumer(_, let complete): complete()
        case .close(let complete): complete()
        }
    }
}

/// Where a `FrameLoop` gets its commands, and what others may know of it.
///
/// Waking the loop costs a system call, so it is woken only while it sleeps.
final class Mailbox: Sendable {
    private struct State {
        var commands: [Command] = []
        var isAsleep = false
        var isBlocked = false
        var end: AMQPError?
        var watchers: [AsyncStream<Void>.Continuation] = []
        let wakeDescriptor: Int32
        let socket: Int32
    }

    private let state: Lock<State>
    /// Becomes readable when a sleeping loop is to wake up.
    let wakeDescriptor: Int32

    /// - Parameter socket: the connection's socket; a duplicate of it is kept, so that `cut` never hits a
    ///   descriptor that was closed and opened again as something else.
    init(socket: Int32) throws(AMQPError) {
        wakeDescriptor = linux_eventfd()
        let duplicate = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        state = Lock(State(wakeDescriptor: wakeDescriptor, socket: duplicate))
        guard wakeDescriptor >= 0, duplicate >= 0 else {
            let reason = String(cString: strerror(errno))
            end(AMQPError(.unreachable, "no descriptor is left for a connection: \(reason)"))
            throw AMQPError(.unreachable, "no descriptor is left for a connection: \(reason)")
        }
    }

    // MARK: For everyone

    /// Hands a command to the loop, or refuses it when the loop has ended.
    func post(_ command: Command) {
        let refusal = state.withLock { state -> AMQPError? in
            if let end = state.end { return end }
            state.commands.append(command)
            if state.isAsleep {
                state.isAsleep = false
                linux_eventfd_wake(state.wakeDescriptor)
            }
            return nil
        }
        if let refusal { command.refuse(refusal) }
    }

    /// Hands over the command that `make` makes and waits for what it comes to, without blocking a thread.
    func call<Value: Sendable>(_ make: (@escaping Completion<Value>) -> Command) async throws -> Value {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
            post(make { continuation.resume(with: $0.mapError { $0 as any Error }) })
        }
    }

    /// Why the loop ended; nil while it runs.
    var failure: AMQPError? {
        state.withLock { $0.end }
    }

    /// True while the broker asks publishers to wait.
    var isBlocked: Bool {
        get { state.withLock { $0.isBlocked } }
        set { state.withLock { $0.isBlocked = newValue } }
    }

    /// A stream that yields nothing and finishes when the loop ends.
    func makeEndStream() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let isOver = state.withLock { state in
            if state.end == nil { state.watchers.append(continuation) }
            return state.end != nil
        }
        if isOver { continuation.finish() }
        return stream
    }

    /// Cuts the socket: whatever the loop does to it then fails at once.
    func cut() {
        state.withLock { if $0.end == nil { _ = shutdown($0.socket, Int32(SHUT_RDWR)) } }
    }

    // MARK: For the loop

    /// Takes what has been posted.
    func take() -> [Command] {
        state.withLock { state in
            state.isAsleep = false
            let commands = state.commands
            state.commands = []
            return commands
        }
    }

    /// Announces that the loop is about to sleep; false when there is something to do first.
    func fallAsleep() -> Bool {
        state.withLock { state in
            state.isAsleep = state.commands.isEmpty
            return state.isAsleep
        }
    }

    /// Ends it: what is posted from now on is refused. Returns what was posted and not taken.
    @discardableResult
    func end(_ error: AMQPError) -> [Command] {
        let (left, watchers) = state.withLock { state in
            guard state.end == nil else { return ([Command](), [AsyncStream<Void>.Continuation]()) }
            state.end = error
            state.isBlocked = false
            close(state.wakeDescriptor)
            close(state.socket)
            defer { (state.commands, state.watchers) = ([], []) }
            return (state.commands, state.watchers)
        }
        for watcher in watchers { watcher.finish() }
        return left
    }
}
