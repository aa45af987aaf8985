/// How long to wait before the next try: exponential, jittered, capped. A pure function of attempt and chance.
package struct RetryPolicy: Sendable, Hashable {
    package var base: Duration
    package var cap: Duration
    /// Tries in all; nil = without end.
    package var maxAttempts: Int?

    package init(base: Duration = .seconds(1), cap: Duration = .seconds(300), maxAttempts: Int? = nil) {
        self.base = base
        self.cap = cap
        self.maxAttempts = maxAttempts
    }

    /// The wait after the `attempt`-th failure (from 1), or nil when no try is left.
    ///
    /// `chance` in 0..<1 spreads the result by ±10 %, so that what failed together does not return together.
    package func delay(afterAttempt attempt: Int, chance: Double = .random(in: 0..<1)) -> Duration? {
        if let maxAttempts, attempt >= maxAttempts { return nil }
        let doublings = min(max(attempt - 1, 0), 30)
        let plain = min(base * (1 << doublings), cap)
        return plain * (0.9 + 0.2 * chance)
    }
}
