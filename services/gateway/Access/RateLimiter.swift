import Threads

/// Token buckets by key: `burst` at once, `perSecond` for ever. Per process and in memory, so several gateways allow
/// several times as much, and a restart forgets.
final class RateLimiter: Sendable {
    private static let capacity = 50_000

    private struct Bucket {
        var tokens: Double
        var at: MonotonicTime
    }

    private let perSecond: Double
    private let burst: Double
    private let buckets = Lock<[String: Bucket]>([:])

    /// A limit of 0 is none.
    init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = max(burst, 1)
    }

    /// Takes one token. Nil: go on; otherwise the whole seconds until there is one.
    func take(_ key: String, now: MonotonicTime = .now) -> Int? {
        guard perSecond > 0 else { return nil }
        return buckets.withLock { buckets in
            var bucket = buckets[key] ?? Bucket(tokens: burst, at: now)
            bucket.tokens = min(burst, bucket.tokens + max((now - bucket.at).inSeconds, 0) * perSecond)
            bucket.at = now
            defer {
                if buckets.count >= Self.capacity { drop(&buckets, now) }
                buckets[key] = bucket
            }
            guard bucket.tokens >= 1 else {
                return max(1, Int(((1 - bucket.tokens) / perSecond).rounded(.up)))
            }
            bucket.tokens -= 1
            return nil
        }
    }

    /// Buckets that are full again are the same as none; if that is not enough, everybody begins anew.
    private func drop(_ buckets: inout [String: Bucket], _ now: MonotonicTime) {
        buckets = buckets.filter { $0.value.tokens + (now - $0.value.at).inSeconds * perSecond < burst }
        if buckets.count >= Self.capacity { buckets = [:] }
    }
}
