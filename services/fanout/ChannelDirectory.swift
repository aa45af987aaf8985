import Postgres
import Store
import Threads

/// The registered channels, as old as `freshness` at most.
struct ChannelDirectory: Sendable {
    private struct Known {
        var channels: [RegisteredChannel] = []
        var readAt: MonotonicTime?
    }

    let pool: Pool
    var freshness: Duration = .milliseconds(500)
    private let known = Lock(Known())

    init(pool: Pool, freshness: Duration = .milliseconds(500)) {
        self.pool = pool
        self.freshness = freshness
    }

    /// Throws `PostgresError` when what is known is too old and cannot be read again.
    func channels() async throws -> [RegisteredChannel] {
        let fresh: [RegisteredChannel]? = known.withLock { known in
            guard let at = known.readAt, at.elapsed < freshness else { return nil }
            return known.channels
        }
        if let fresh { return fresh }
        let read = try await pool.run { try ChannelStore.all(in: $0) }
        known.withLock { known in
            known.channels = read
            known.readAt = .now
        }
        return read
    }
}
