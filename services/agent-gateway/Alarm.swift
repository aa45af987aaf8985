import Threads

/// Calls `body` once after a time, unless it is disarmed before. One thread serves all alarms of the process.
final class Alarm: Sendable {
    private enum State { case armed, rung, disarmed }
    private let state = Lock(State.armed)
    private let body: @Sendable () -> Void

    init(after delay: Duration, _ body: @escaping @Sendable () -> Void) {
        self.body = body
        Task {
            try? await Task.sleep(for: delay)
            self.ring()
        }
    }

    private func ring() {
        let rings = state.withLock { state in
            guard case .armed = state else { return false }
            state = .rung
            return true
        }
        if rings { body() }
    }

    /// True when it has rung.
    func disarm() -> Bool {
        state.withLock { state in
            if case .rung = state { return true }
            state = .disarmed
            return false
        }
    }
}
