import AMQP
import Domain
import Lifecycle
import Postgres
import TestSupport
import Testing
import Threads

/// Work that comes all the time: a message of a new task every few milliseconds, so that every partition has some.
final class Trickle: Sendable {
    private let connection: AMQPConnection
    private let sent = Lock(0)

    private init(_ connection: AMQPConnection) {
        self.connection = connection
    }

    /// Publishes while `body` runs, and waits until all of it is done.
    ///
    /// - Parameter beside: effects of messages that `body` publishes by itself.
    static func with(
        _ spine: Spine, beside: Int = 0, _ body: (Trickle) async throws -> Void
    ) async throws {
        let connection = try await AMQPConnection.open(AMQPConfig(url: spine.broker))
        let trickle = Trickle(connection)
        let work = Task { try await periodically(every: .milliseconds(40)) { try await trickle.send(20) } }
        let result: Result<Void, any Error>
        do {
            try await body(trickle)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        work.cancel()
        _ = await work.result
        await connection.close()
        try result.get()
        try await eventually("all that was sent is done") {
            try spine.count("SELECT count(*) FROM spine_effects") >= trickle.sent.withLock { $0 } + beside
        }
    }

    /// Publishes that many at once.
    func send(_ count: Int) async throws {
        let results = try await connection.publish((0..<count).map { _ in Spine.message(Spine.task(), 1) })
        #expect(results.allSatisfy { $0 == .confirmed })
        sent.withLock { $0 += count }
    }
}

extension Spine {
    /// The database's clock, in seconds.
    func now() throws -> Double {
        try connection().query("SELECT extract(epoch FROM clock_timestamp())::float8").only().get(0)
    }

    func seconds(since moment: Double) throws -> Double { try now() - moment }

    /// True when since that time all partitions had work and were shared out as evenly as can be: partition i is done by
    /// the i-mod-n-th, and by nobody else.
    func isShared(by count: Int, since: String) throws -> Bool {
        let rows = try connection().query(
            """
            SELECT DISTINCT queue, worker FROM spine_effects WHERE at > clock_timestamp() + \(since)::interval
            ORDER BY queue
            """)
        let workers = try rows.map { try $0.get("worker", as: String.self) }
        guard rows.count == 8, Set(workers).count == count else { return false }
        return workers.indices.allSatisfy { workers[$0] == workers[$0 % count] }
    }

    /// The partitions that a worker has served in the last second.
    func queues(of worker: String) throws -> [String] {
        try connection().query(
            """
            SELECT DISTINCT queue FROM spine_effects
            WHERE worker = \(worker) AND at > clock_timestamp() - interval '1 s'
            """
        ).map { try $0.get("queue") }
    }

    /// Waits until others have done work of all these partitions; returns how long after `moment` the last one began.
    func taken(over queues: [String], from worker: String, since moment: Double) async throws -> Double {
        #expect(!queues.isEmpty)
        return try await eventually("others do its work") { () -> Double? in
            let rows = try connection().query(
                """
                SELECT queue, min(extract(epoch FROM at))::float8 AS began FROM spine_effects
                WHERE worker <> \(worker) AND at > to_timestamp(\(moment)) AND queue = ANY(\(queues)) GROUP BY queue
                """)
            guard rows.count == queues.count else { return nil }
            return try rows.map { try $0.get("began", as: Double.self) - moment }.max()
        }
    }

    /// What part of the effects since a moment each worker had. Of all of them: whoever is quicker is done with its part
    /// earlier, and would be missing among the last ones.
    func shares(since moment: Double) throws -> [String: Double] {
        let rows = try connection().query(
            """
            SELECT worker, (count(*) / sum(count(*)) OVER ())::float8 AS share FROM spine_effects
            WHERE at > to_timestamp(\(moment)) GROUP BY worker
            """)
        return try rows.reduce(into: [:]) { shares, row in
            shares[try row.get("worker", as: String.self)] = try row.get("share", as: Double.self)
        }
    }

    /// Nothing is left, and every task's effects are there once and in order.
    func expectWholeAndOrdered() async throws {
        let misplaced = try count(
            """
            SELECT count(*) FROM (SELECT seq, row_number() OVER (PARTITION BY task_id ORDER BY position) AS place
                FROM spine_effects) AS e WHERE seq <> place
            """)
        #expect(misplaced == 0)
        #expect(try parked() == 0)
        #expect(try deadLetters() == 0)
        // The ack follows the commit that was waited for.
        try await eventually("all is acked") { try await depth() == 0 }
    }
}
