import Telemetry

/// How long to wait before the next try: exponential, capped, spread by a jitter so that many do not return at once.
package struct Backoff: Sendable, Hashable {
    /// The wait after the first failure.
    package var initial: Duration
    /// What each further failure multiplies the wait by.
    package var factor: Double
    /// The longest wait, before the jitter.
    package var cap: Duration
    /// How far a wait may stray from its value, as a part of it: 0.1 = ±10 %.
    package var jitter: Double

    /// A backoff; the defaults suit connections to servers nearby.
    package init(
        initial: Duration = .milliseconds(100), factor: Double = 2, cap: Duration = .seconds(30), jitter: Double = 0.1
    ) {
        self.initial = initial
        self.factor = factor
        self.cap = cap
        self.jitter = jitter
    }

    /// The wait after that many failures in a row, counted from 1. Pure.
    ///
    /// - Parameter random: from 0 (shortest) to 1 (longest).
    package func delay(afterFailures failures: Int, random: Double) -> Duration {
        var seconds = min(initial.inSeconds, cap.inSeconds)
        for _ in 1..<max(failures, 1) {
            seconds *= factor
            if seconds >= cap.inSeconds {
                seconds = cap.inSeconds
                break
            }
        }
        let spread = 1 + jitter * (2 * min(max(random, 0), 1) - 1)
        return .nanoseconds(Int64(seconds * spread * 1e9))
    }

    /// The wait after that many failures in a row, with a random jitter.
    package func delay(afterFailures failures: Int) -> Duration {
        delay(afterFailures: failures, random: .random(in: 0...1))
    }
}

/// Tries until `body` succeeds, with waits in between; each failure is one warning in the log.
///
/// - Parameter what: what is tried, as an infinitive: "connect to RabbitMQ".
/// - Parameter isFinal: errors that no further try can mend; they are thrown at once.
/// - Throws: `CancellationError` once the task is cancelled, or an error that is final.
package func retrying<Result: Sendable, C: Clock>(
    _ what: String, backoff: Backoff = Backoff(), clock: C = ContinuousClock(), log: Logger,
    isFinal: (any Error) -> Bool = { _ in false }, _ body: () async throws -> Result
) async throws -> Result where C.Duration == Duration {
    var failures = 0
    while true {
        try Task.checkCancellation()
        do {
            return try await body()
        } catch let error as CancellationError {
            throw error
        } catch {
            if isFinal(error) { throw error }
            failures += 1
            let delay = backoff.delay(afterFailures: failures)
            log.warning(
                "could not \(what)", ["error": "\(error)", "failures": failures, "next_try_s": delay.inSeconds])
            try await clock.sleep(for: delay)
        }
    }
}
