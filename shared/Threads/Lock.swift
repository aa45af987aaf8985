import Glibc

/// A value that only one thread at a time can touch.
///
/// A pthread mutex, because ThreadSanitizer raises false alarms on `Synchronization.Mutex`. Hold it for a few
/// instructions: it blocks the thread, which on Swift's cooperative pool is a thread everyone shares.
///
/// - Important: not recursive; calling `withLock` inside `withLock` of the same lock stops the thread for good.
package final class Lock<State>: @unchecked Sendable {
    // Sendable because `state` is reached through `withLock` alone.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var state: State

    /// Guards `state`, which the caller gives away.
    package init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deinitialize(count: 1)
        mutex.deallocate()
    }

    /// Runs `body` alone with the value. A reference that `body` returns is no longer guarded.
    @discardableResult
    package func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}

extension Lock where State == Void {
    /// A lock that guards something outside itself.
    package convenience init() {
        self.init(())
    }
}
