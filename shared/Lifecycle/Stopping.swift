import Glibc

/// Who stops next: the decisions of a `ServiceGroup` as a value.
struct Stopping {
    private(set) var isStopping = false
    var exitCode: Int32 = 0
    private var ended: [Bool]
    private var cancelled: [Bool]

    init(count: Int) {
        ended = Array(repeating: false, count: count)
        cancelled = Array(repeating: false, count: count)
    }

    var isOver: Bool {
        isStopping && stillRunning.isEmpty
    }

    var stillRunning: [Int] {
        ended.indices.filter { !ended[$0] }
    }

    /// Starts to stop; returns the service to cancel first.
    mutating func begin() -> Int? {
        isStopping = true
        return next()
    }

    /// Notes that a service has ended; returns the one to cancel next, when it is that one's turn.
    mutating func ended(_ index: Int) -> Int? {
        ended[index] = true
        return isStopping ? next() : nil
    }

    /// Gives up the order; returns all that have not been cancelled yet.
    mutating func cancelAll() -> [Int] {
        let rest = cancelled.indices.filter { !cancelled[$0] && !ended[$0] }
        for index in rest { cancelled[index] = true }
        return rest
    }

    /// The last running service, unless it has been cancelled and is still on its way out.
    private mutating func next() -> Int? {
        guard let last = stillRunning.last, !cancelled[last] else { return nil }
        cancelled[last] = true
        return last
    }
}

/// The alarms of a stop, on a thread of its own, because a service that blocks Swift's cooperative pool would block a
/// timer there.
final class Watchdog: Sendable {
    /// What to do when the time is up.
    struct Alarms: Sendable {
        /// Draining has taken too long.
        let drain: @Sendable () -> Void
        /// The patience is over.
        let giveUp: @Sendable () -> Void
        /// Even giving up has not ended the group half a second later.
        let overdue: @Sendable () -> Void
    }

    private let patience: ServiceGroup.Patience
    private let alarms: Alarms
    private let isStarted = Lock(false)
    private let isFinished = Condition(false)

    init(patience: ServiceGroup.Patience, alarms: Alarms) {
        self.patience = patience
        self.alarms = alarms
    }

    /// Starts the clock; a second call changes nothing. May be called on any thread.
    func start() {
        let isFirst = isStarted.withLock { isStarted in
            defer { isStarted = true }
            return !isStarted
        }
        guard isFirst else { return }
        let (isFinished, patience, alarms) = (isFinished, patience, alarms)
        let thread = try? NamedThread("watchdog") {
            func isOver(within time: Duration) -> Bool {
                isFinished.wait(timeout: time) { $0 ? true : nil } != nil
            }
            if isOver(within: patience.drain) { return }
            alarms.drain()
            if isOver(within: patience.giveUp - patience.drain) { return }
            alarms.giveUp()
            if isOver(within: .milliseconds(500)) { return }
            alarms.overdue()
        }
        if thread == nil { alarms.giveUp() }
    }

    /// Silences the alarms.
    func finish() {
        isFinished.update { $0 = true }
    }
}
