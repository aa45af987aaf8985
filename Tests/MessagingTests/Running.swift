import AMQP
import Domain
import Lifecycle
import Messaging
import Postgres
import Store
import Telemetry

/// A handler made of a closure.
struct Scripted: MessageHandler {
    var consumer = "test"
    var callsOutside = false
    let body: @Sendable (Message, Step) async throws -> Outcome

    init(callsOutside: Bool = false, _ body: @escaping @Sendable (Message, Step) async throws -> Outcome) {
        self.callsOutside = callsOutside
        self.body = body
    }

    func handle(_ message: Message, _ step: Step) async throws -> Outcome { try await body(message, step) }
}

extension Step {
    /// The effect that tests count: one row, in the transaction of the position.
    func record(_ message: Message, by worker: String = "here") async throws -> Outcome {
        try await commit { tx in
            _ = try tx.query(
                """
                INSERT INTO spine_effects (task_id, seq, worker, queue)
                VALUES (\(message.taskID.rawValue), \(message.seq), \(worker), \(message.queue))
                """)
        }
        return .done
    }
}

/// A service of the spine in this process, with a pool and a lock of its own.
final class Running: Sendable {
    let pool: Pool
    let lock: AdvisoryLock
    private let task: Task<Void, any Error>

    init(
        _ spine: Spine, _ make: (Pool, AMQPConfig, AdvisoryLock) -> any Service
    ) throws {
        let postgres = try PostgresConfig(url: spine.database, applicationName: Spine.underTest)
        var timing = AdvisoryLock.Timing()
        timing.ping = .milliseconds(400)
        timing.sessionTimeout = .milliseconds(2500)
        // Shorter than the product's in the measure in which leases are: who comes back must do so within one.
        pool = Pool(postgres, backoff: Backoff(initial: .milliseconds(50), cap: .milliseconds(300)))
        lock = try AdvisoryLock(postgres, timing: timing)
        let service = make(pool, try AMQPConfig(url: spine.broker), lock)
        task = Task { try await service.run() }
    }

    /// Asks it to stop, as SIGTERM does.
    func cancel() { task.cancel() }

    /// Stops it and waits until nothing of it is left.
    func stop() async {
        task.cancel()
        _ = await task.result
        await lock.close()
        await pool.close()
    }
}

extension Spine {
    /// Settings that find quickly what the product's find in seconds.
    static var quick: ConsumerSettings {
        var settings = ConsumerSettings()
        settings.replayEvery = .milliseconds(10)
        settings.repairAfter = .milliseconds(100)
        settings.retry = RetryPolicy(base: .milliseconds(5), cap: .milliseconds(20))
        settings.lookEvery = .milliseconds(50)
        settings.memberLease = .seconds(1)
        return settings
    }

    func consumer(
        of stream: TaskStream = .commands, _ handler: any MessageHandler, _ settings: ConsumerSettings = Spine.quick,
        readiness: Readiness = Readiness(), metrics: Metrics = Metrics()
    ) throws -> Running {
        try Running(self) { pool, amqp, lock in
            OrderedConsumer(
                stream, handler, pool: pool, amqp: amqp, replayLock: lock, settings: settings, readiness: readiness,
                log: .silent, metrics: metrics)
        }
    }

    func relay(_ settings: RelaySettings = RelaySettings()) throws -> Running {
        try Running(self) { pool, amqp, lock in
            OutboxRelay(
                pool: pool, amqp: amqp, lock: lock, settings: settings, readiness: Readiness(), log: .silent,
                metrics: Metrics())
        }
    }

    /// Runs a consumer while `body` runs, and stops it afterwards.
    func consuming(
        of stream: TaskStream = .commands, _ handler: any MessageHandler, _ settings: ConsumerSettings = Spine.quick,
        _ body: () async throws -> Void
    ) async throws {
        try await withRunning(try consumer(of: stream, handler, settings)) { _ in try await body() }
    }

    /// Stops what runs when `body` ends, however it ends.
    func withRunning(_ running: Running, _ body: (Running) async throws -> Void) async throws {
        do {
            try await body(running)
        } catch {
            await running.stop()
            throw error
        }
        await running.stop()
    }
}
