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

/// Two alarms on a thread of its own, because a service that blocks Swift's cooperative pool would block a timer there.
final class Watchdog: Sendable {
    private let patience: ServiceGroup.Patience
    private let isFinished = Condition(false)

    init(patience: ServiceGroup.Patience) {
        self.patience = patience
    }

    func start(drain: @escaping @Sendable () -> Void, giveUp: @escaping @Sendable () -> Void) {
        let (isFinished, patience) = (isFinished, patience)
        let thread = try? NamedThread("watchdog") {
            if isFinished.wait(timeout: patience.drain, until: { $0 ? true : nil }) != nil { return }
            drain()
            if isFinished.wait(timeout: patience.giveUp - patience.drain, until: { $0 ? true : nil }) != nil { return }
            giveUp()
        }
        if thread == nil { giveUp() }
    }

    func finish() {
        isFinished.update { $0 = true }
    }
}
