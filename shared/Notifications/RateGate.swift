import Threads

/// Who may send now: a token bucket per rate limit of the other side, and what the other side itself asked to wait.
///
/// Per process and in memory: replicas share a limit by what the other side answers.
package final class RateGate: Sendable {
    private struct Bucket {
        var tokens: Double
        var at: MonotonicTime
        var heldUntil: MonotonicTime?
    }

    private let pace: Pace
    private let buckets = Lock<[String: Bucket]>([:])

    package init(_ pace: Pace) {
        self.pace = pace
    }

    /// True when a send may start now; it then counts. Give it back when nothing was sent.
    package func take(_ name: String, now: MonotonicTime = .now) -> Bool {
        buckets.withLock { buckets in
            if buckets.count > 10_000 { buckets = buckets.filter { ($0.value.heldUntil ?? now) > now } }
            var bucket = buckets[name] ?? Bucket(tokens: pace.burst, at: now)
            defer { buckets[name] = bucket }
            if let until = bucket.heldUntil, until > now { return false }
            bucket.heldUntil = nil
            bucket.tokens = min(pace.burst, bucket.tokens + (now - bucket.at).inSeconds * pace.perSecond)
            bucket.at = now
            guard bucket.tokens >= 1 else { return false }
            bucket.tokens -= 1
            return true
        }
    }

    package func giveBack(_ name: String) {
        buckets.withLock { $0[name]?.tokens += 1 }
    }

    /// Nothing more for a while: the other side said so.
    package func hold(_ name: String, for duration: Duration, now: MonotonicTime = .now) {
        buckets.withLock { buckets in
            var bucket = buckets[name] ?? Bucket(tokens: pace.burst, at: now)
            bucket.heldUntil = max(bucket.heldUntil ?? now, now + duration)
            buckets[name] = bucket
        }
    }
}
