import Lifecycle
import Postgres
import TestSupport
import Testing

@Suite(.scratchDatabase, .timeLimit(.minutes(1)))
struct AdvisoryLockTests {
    /// A tenth of the real rhythm.
    private var fast: AdvisoryLock.Timing {
        var timing = AdvisoryLock.Timing()
        timing.ping = .milliseconds(100)
        timing.sessionTimeout = .milliseconds(1500)
        return timing
    }

    @Test func `one holds, the other does not, until it is given back`() async throws {
        let first = try AdvisoryLock(try scratchConfig())
        let second = try AdvisoryLock(try scratchConfig())
        let key = AdvisoryLock.key("shard", 1)
        #expect(try await first.tryAcquire(key))
        #expect(try await first.tryAcquire(key))
        #expect(first.isHeld(key))
        #expect(try await !second.tryAcquire(key))
        #expect(!second.isHeld(key))
        try await first.release(key)
        #expect(!first.isHeld(key))
        #expect(try await second.tryAcquire(key))
        await first.close()
        await second.close()
        #expect(!second.isHeld(key))
        #expect(try await postgresError { try await first.tryAcquire(key) }.kind == .closed)
    }

    @Test func `one session holds many keys and close frees them all`() async throws {
        let keys = (0..<64).map { AdvisoryLock.key("shard", $0) }
        #expect(Set(keys).count == 64)
        let first = try AdvisoryLock(try scratchConfig())
        for key in keys { #expect(try await first.tryAcquire(key)) }
        #expect(first.held == Set(keys))
        let sessions: Int = try connect().query(
            """
            SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND datname = current_database()
            """
        ).only().get(0)
        #expect(sessions == 1)
        await first.close()
        let second = try AdvisoryLock(try scratchConfig())
        #expect(try await eventually { try await second.tryAcquire(keys[0]) })
        await second.close()
    }

    @Test func `a session that is ended is a loss, told at once, and another takes over`() async throws {
        let (losses, told) = AsyncStream.makeStream(of: Set<Int64>.self)
        let first = try AdvisoryLock(try scratchConfig()) { told.yield($0) }
        let second = try AdvisoryLock(try scratchConfig())
        #expect(try await first.tryAcquire(1))
        #expect(try await first.tryAcquire(2))
        #expect(try await !second.tryAcquire(1))
        try terminate(try #require(try await first.processID()))
        var iterator = losses.makeAsyncIterator()
        #expect(await iterator.next() == [1, 2])
        #expect(first.held.isEmpty)
        #expect(try await second.tryAcquire(1))
        // It comes back by itself with the next try.
        #expect(try await !first.tryAcquire(1))
        #expect(try await first.tryAcquire(2))
        await first.close()
        await second.close()
    }

    @Test func `proofs keep the session beyond the silence the server allows`() async throws {
        let lock = try AdvisoryLock(try scratchConfig(), timing: fast)
        #expect(try await lock.tryAcquire(1))
        let process = try await lock.processID()
        let observer = try connect()
        let deadline = Deadline.after(.seconds(4))
        var wasHeld = true
        while !deadline.isOver {
            wasHeld = wasHeld && lock.isHeld(1)
            try observer.query("SELECT pg_sleep(0.05)")
        }
        #expect(wasHeld)
        #expect(try await lock.processID() == process)
        await lock.close()
    }

    @Test func `a server that answers no more is a loss before it could free the lock`() async throws {
        let proxy = try SilentProxy(to: try ScratchDatabase.url())
        let (losses, told) = AsyncStream.makeStream(of: Set<Int64>.self)
        let config = try PostgresConfig(url: proxy.url, applicationName: "test")
        let lock = try AdvisoryLock(config, timing: fast) { told.yield($0) }
        #expect(try await lock.tryAcquire(1))
        #expect(lock.isHeld(1))
        proxy.fallSilent()
        var iterator = losses.makeAsyncIterator()
        #expect(await iterator.next() == [1])
        #expect(!lock.isHeld(1))
        // The server hears no proof either and frees the lock by itself, though the connection still stands.
        let other = try AdvisoryLock(try scratchConfig())
        #expect(try await eventually { try await other.tryAcquire(1) })
        await lock.close()
        await other.close()
        proxy.stop()
    }

    @Test func `a pooler that lends sessions per transaction is refused`() async throws {
        let pooler = try LendingPooler(to: try ScratchDatabase.url())
        let config = try PostgresConfig(url: pooler.url, applicationName: "test")
        let lock = try AdvisoryLock(config)
        let error = try await postgresError { try await lock.tryAcquire(1) }
        #expect(error.kind == .configuration && error.message.contains("pooler"), "\(error)")
        await lock.close()
        pooler.stop()
    }
}
