import Threads

/// Token buckets by key: `burst` at once, `perSecond` for ever. Per process and in memory, so several gateways allow
/// several times as much, and a restart forgets.
///
/// Memory is bounded, however many keys there are: buckets live in two halves, and when the newer one is full the older
/// one is forgotten. Who asks goes into the newer half, so whoever is being limited stays limited while others come and go.
final class RateLimiter: Sendable {
    private struct Bucket {
        var tokens: Double
        var at: MonotonicTime
    }

    private struct State {
        var newer: [String: Bucket] = [:]
        var older: [String: Bucket] = [:]
    }

    private let perSecond: Double
    private let burst: Double
    private let half: Int
    private let state = Lock(State())

    /// A limit of 0 is none.
    ///
    /// - Parameter capacity: how many keys are remembered at most.
    init(perSecond: Double, burst: Double, capacity: Int = 50_000) {
        self.perSecond = perSecond
        self.burst = max(burst, 1)
        half = max(capacity / 2, 1)
    }

    /// How many keys are remembered.
    var count: Int { state.withLock { $0.newer.count + $0.older.count } }

    /// Takes one token. Nil: go on; otherwise the whole seconds until there is one.
    func take(_ key: @autoclosure () -> String, now: @autoclosure () -> MonotonicTime = .now) -> Int? {
        guard perSecond > 0 else { return nil }
        let (key, now) = (key(), now())
        return state.withLock { state in
            let old = state.older.removeValue(forKey: key)
            var bucket = state.newer[key] ?? old ?? Bucket(tokens: burst, at: now)
            bucket.tokens = min(burst, bucket.tokens + max((now - bucket.at).inSeconds, 0) * perSecond)
            bucket.at = now
            let isFree = bucket.tokens >= 1
            if isFree { bucket.tokens -= 1 }
            if state.newer.count >= half, state.newer[key] == nil {
                state.older = state.newer
                state.newer = [:]
            }
            state.newer[key] = bucket
            return isFree ? nil : max(1, Int(((1 - bucket.tokens) / perSecond).rounded(.up)))
        }
    }
}
