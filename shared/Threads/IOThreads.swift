import Glibc

/// A fixed set of threads for calls that block: C libraries, files, child processes.
///
/// Jobs start in the order they came in, and as many run at once as there are threads.
package final class IOThreads: Sendable {
    /// Work was handed in after `stop`; nothing of it ran.
    package struct Stopped: Error, CustomStringConvertible {
        /// Says so in words.
        package let description = "the threads for this work are stopped"
    }

    private let jobs = BlockingQueue<@Sendable () -> Void>()
    private let threads: [NamedThread]
    private let members = Lock<[pthread_t]>([])

    /// Starts `count` threads called `name-1`, `name-2` …
    ///
    /// - Precondition: `count` is at least 1, and the system can start that many threads at the start of a process.
    package init(name: String, count: Int) {
        precondition(count >= 1, "a set of threads has at least one")
        let jobs = jobs
        let members = members
        threads = (1...count).map { number in
            do {
                return try NamedThread("\(name)-\(number)") {
                    members.withLock { $0.append(pthread_self()) }
                    while case .item(let job) = jobs.take() { job() }
                }
            } catch {
                fatalError("\(error)")  // only at start: the supervisor tries again
            }
        }
    }

    deinit {
        jobs.close()  // the threads finish what was accepted, then end
    }

    /// How many jobs wait for a thread.
    package var backlog: Int {
        jobs.count
    }

    /// Runs `body` on one of the threads and returns what it returns or throws what it throws.
    ///
    /// Cancelling the calling task does not interrupt or skip `body`: work that was begun is finished, so a
    /// transaction either commits or fails for its own reasons. Task-local values are not visible inside `body`.
    /// - Throws: `Stopped` after `stop`.
    package func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Result, any Error>) in
            let accepted = submit {
                continuation.resume(with: Swift.Result { try body() })
            }
            if !accepted { continuation.resume(throwing: Stopped()) }
        }
    }

    /// Hands in work that nobody waits for. Returns false after `stop`.
    @discardableResult
    package func submit(_ body: @escaping @Sendable () -> Void) -> Bool {
        jobs.put(body)
    }

    /// Accepts nothing more, and blocks until all that was accepted has run. A second call does no harm.
    ///
    /// Called on one of these threads it does not wait. Never call it on the cooperative pool while jobs may
    /// take long: use `stopped()` there.
    package func stop() {
        jobs.close()
        let current = pthread_self()
        if members.withLock({ $0.contains { pthread_equal($0, current) != 0 } }) { return }
        for thread in threads { thread.join() }
    }

    /// Like `stop`, without blocking the caller's thread.
    package func stopped() async {
        jobs.close()
        let threads = threads
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let waiter = try? NamedThread("stop") {
                for thread in threads { thread.join() }
                continuation.resume()
            }
            if waiter == nil { continuation.resume() }
        }
    }
}
