import Domain
import Threads

/// Agents that wait for something in their task's inbox. A ring makes them look at once; nothing depends on it, because
/// they also look now and then by themselves.
final class InboxBell: Sendable {
    /// What people do that puts something into an inbox, but for their questions, which are no events and can wait for the
    /// next look. An agent's own events, the most by far, do not ring.
    static let events: [TaskEventType] = [.nudgeAccepted, .approvalDecided, .questionAnswered, .cancelRequested]

    /// A place to wait at, from the moment of its making on: what rings before the wait is heard as well.
    final class Seat: Sendable {
        fileprivate let rings = Condition(0)

        /// Blocks until it rings; false when the time was up first. For threads that may block.
        @discardableResult
        func wait(_ time: Duration) -> Bool {
            rings.wait(timeout: time) { rings in
                guard rings > 0 else { return nil }
                rings = 0
                return true
            } ?? false
        }
    }

    private let seats = Lock<[TaskID: [Seat]]>([:])

    /// Something happened to the task. Cheap when nobody waits for it.
    func ring(_ task: TaskID) {
        let waiting = seats.withLock { $0[task] ?? [] }
        for seat in waiting { seat.rings.update { $0 += 1 } }
    }

    /// Sits down; whoever sat down leaves.
    func sit(_ task: TaskID) -> Seat {
        let seat = Seat()
        seats.withLock { $0[task, default: []].append(seat) }
        return seat
    }

    func leave(_ seat: Seat, _ task: TaskID) {
        seats.withLock { seats in
            seats[task]?.removeAll { $0 === seat }
            if seats[task]?.isEmpty ?? false { seats[task] = nil }
        }
    }

    /// How many sit.
    var count: Int { seats.withLock { $0.values.reduce(0) { $0 + $1.count } } }
}
