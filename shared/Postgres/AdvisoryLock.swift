import Telemetry
import Threads

/// Locks that name leaders and owners of shards: held by one session in the whole database, freed when it ends.
///
/// All keys of one object live on one session of its own, with a thread that proves every second that the session
/// still stands. Our side stops believing in it (`isHeld`) before the server can have freed it: the server ends a
/// session that was silent for five seconds, we disbelieve four seconds after the last proof was asked for. So a
/// frozen process that wakes up knows at once. Still check `isHeld` before each step and fence what is written:
/// between the check and the step anything may happen.
package final class AdvisoryLock: Sendable {
    /// The rhythm of proofs; shorter in tests.
    package struct Timing: Sendable {
        /// Time between proofs.
        package var ping: Duration = .seconds(1)
        /// Silence after which the server ends the session and frees its locks; more than four pings.
        package var sessionTimeout: Duration = .seconds(5)

        package init() {}

        /// How long a proof is believed.
        var trust: Duration { sessionTimeout - ping }
    }

    private struct State {
        var keys: Set<Int64> = []
        /// When the last proof that succeeded was asked for. Counts while the machine sleeps, too.
        var proof: ContinuousClock.Instant?
        var jobs: [Job] = []
        var isClosed = false
    }

    /// Work for the session's thread; nil tells that there will be no session any more.
    private typealias Job = @Sendable (LockSession?) -> Void

    private let session: LockSession
    private let timing: Timing
    private let log: Logger
    private let onLoss: @Sendable (Set<Int64>) -> Void
    private let wakeup: Wakeup
    private let state = Lock(State())
    private let thread = Lock<NamedThread?>(nil)

    /// Starts the thread; it connects with the first `tryAcquire`.
    ///
    /// - Parameter onLoss: called on that thread with the keys that were lost, once per loss; must not block.
    /// - Throws: when the process has no descriptor or thread left.
    package init(
        _ config: PostgresConfig, timing: Timing = Timing(), log: Logger = .silent,
        onLoss: @escaping @Sendable (Set<Int64>) -> Void = { _ in }
    ) throws {
        self.session = LockSession(config, timing: timing)
        self.timing = timing
        self.log = log
        self.onLoss = onLoss
        wakeup = try Wakeup()
        let started = try NamedThread("pg-locks") { [self] in work() }
        thread.withLock { $0 = started }
    }

    /// A key from words, the same in every process: `key("relay", shard)`.
    package static func key(_ name: String, _ number: Int = 0) -> Int64 {
        // FNV-1a: stable, unlike Swift's own hash.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(name)/\(number)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Int64(bitPattern: hash)
    }

    /// Takes the lock if nobody else has it; does not wait for it. True as well when we have it already.
    ///
    /// - Throws: `PostgresError`: unavailable when the server is not reached, `configuration` behind a transaction
    ///   pooler, where a session's lock would belong to whoever comes next.
    package func tryAcquire(_ key: Int64) async throws -> Bool {
        try await perform { lock, session in
            if lock.isHeld(key) { return true }
            let asked = ContinuousClock.now
            guard try session.lock(key) else {
                lock.state.withLock { $0.proof = asked }
                return false
            }
            lock.state.withLock { state in
                state.proof = asked
                state.keys.insert(key)
            }
            return true
        }
    }

    /// Gives a lock back; one that is not held is left alone.
    package func release(_ key: Int64) async throws {
        try await perform { lock, session in
            guard lock.state.withLock({ $0.keys.remove(key) }) != nil else { return }
            try session.unlock(key)
        }
    }

    /// True while the lock is surely ours.
    package func isHeld(_ key: Int64) -> Bool {
        held.contains(key)
    }

    /// The keys that are surely ours at this moment.
    package var held: Set<Int64> {
        state.withLock { state in
            guard let proof = state.proof, ContinuousClock.now - proof < timing.trust else { return [] }
            return state.keys
        }
    }

    /// The server process that holds the locks; nil without a session. For tests and for people who look.
    package func processID() async throws -> Int32? {
        try await perform { _, session in session.processID }
    }

    /// Ends the session, which frees all locks, and the thread. Calls after it throw `closed`.
    package func close() async {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        guard isFirst, let thread = thread.withLock({ $0.take() }) else { return }
        wakeup.wake()
        await withCheckedContinuation { (ended: CheckedContinuation<Void, Never>) in
            let waiter = try? NamedThread("pg-locks-stop") {
                thread.join()
                ended.resume()
            }
            if waiter == nil { ended.resume() }
        }
    }

    // MARK: The session's thread

    private func perform<Result: Sendable>(
        _ body: @escaping @Sendable (AdvisoryLock, LockSession) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { (answer: CheckedContinuation<Result, any Error>) in
            let job: Job = { [self] session in
                guard let session else { return answer.resume(throwing: Self.closed) }
                do {
                    answer.resume(returning: try body(self, session))
                } catch {
                    if !session.isOpen { lose(because: error) }
                    answer.resume(throwing: error)
                }
            }
            let isAccepted = state.withLock { state in
                if !state.isClosed { state.jobs.append(job) }
                return !state.isClosed
            }
            if isAccepted { wakeup.wake() } else { answer.resume(throwing: Self.closed) }
        }
    }

    private func work() {
        var nextPing = MonotonicTime.now
        while true {
            let (jobs, isClosed) = state.withLock { state in
                defer { state.jobs = [] }
                return (state.jobs, state.isClosed)
            }
            for job in jobs { job(isClosed ? nil : session) }
            if isClosed {
                state.withLock { $0.keys = [] }
                return session.close()
            }
            if session.isOpen, nextPing <= .now {
                nextPing = .now + timing.ping
                prove()
            }
            let timeout = session.isOpen ? max(.zero, nextPing - .now) : nil
            let hasNews =
                state.withLock { $0.jobs.isEmpty && !$0.isClosed }
                ? wakeup.wait(socket: session.socket, timeout: timeout) : false
            // The server speaks unasked only to say farewell: no need to wait for the next proof.
            if hasNews, !session.looksAlive() {
                lose(because: PostgresError(.connectionLost, "the server ended the session"))
            }
        }
    }

    private func prove() {
        let asked = ContinuousClock.now
        do {
            try session.ping()
            state.withLock { $0.proof = asked }
        } catch {
            lose(because: error)
        }
    }

    private func lose(because error: any Error) {
        session.close()
        let lost = state.withLock { state in
            defer { state.keys = [] }
            state.proof = nil
            return state.keys
        }
        guard !lost.isEmpty else { return }
        log.warning("advisory locks lost", ["count": lost.count, "error": "\(error)"])
        onLoss(lost)
    }

    private static let closed = PostgresError(.closed, "the lock is closed")
}
