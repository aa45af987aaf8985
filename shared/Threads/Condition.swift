import Glibc

/// A guarded value that threads can wait for: mutex and condition variable in one.
///
/// For threads of our own only. A waiter blocks its thread, so never wait on Swift's cooperative pool.
package final class Condition<State>: @unchecked Sendable {
    // Sendable because `state` is reached under the mutex alone.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    /// Guards `state`, which the caller gives away.
    package init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        condition = .allocate(capacity: 1)
        condition.initialize(to: pthread_cond_t())
        // Deadlines on the monotonic clock: a step of the wall clock neither shortens nor lengthens a wait.
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        condition.deinitialize(count: 1)
        condition.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deinitialize(count: 1)
        mutex.deallocate()
    }

    /// Runs `body` alone with the value and wakes nobody.
    @discardableResult
    package func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Runs `body` alone with the value, then lets every waiter look again.
    @discardableResult
    package func update<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(condition)
            pthread_mutex_unlock(mutex)
        }
        return try body(&state)
    }

    /// Lets one waiter look again: enough when every waiter waits for the same thing and takes it.
    package func signal() {
        pthread_cond_signal(condition)
    }

    /// Lets every waiter look again.
    package func broadcast() {
        pthread_cond_broadcast(condition)
    }

    /// Blocks until `body`, run under the lock now and after every wake-up, returns a value.
    ///
    /// - Parameter timeout: nil waits for ever.
    /// - Returns: what `body` returned, or nil when the time was up first; `body` has one last look at the deadline.
    package func wait<Result>(
        timeout: Duration? = nil, until body: (inout State) throws -> Result?
    ) rethrows -> Result? {
        let deadline = timeout.map { MonotonicTime.now + $0 }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = try body(&state) { return result }
            guard let deadline else {
                pthread_cond_wait(condition, mutex)
                continue
            }
            var until = deadline.timespec
            if pthread_cond_timedwait(condition, mutex, &until) == ETIMEDOUT { return try body(&state) }
        }
    }
}
