import Domain
import Lifecycle
import Threads
import Postgres
import Store
import Telemetry

/// Brings parked messages back into their lanes when it is their turn, and has missing ones made again.
///
/// One process at a time does it for a consumer, by an advisory lock; positions would keep two harmless.
final class ParkedReplay: Sendable {
    private let consumer: String
    private let stream: TaskStream
    private let pool: Pool
    private let lanes: LaneScheduler
    private let settings: ConsumerSettings
    private let lock: AdvisoryLock
    private let log: Logger

    init(
        consumer: String, stream: TaskStream, pool: Pool, lanes: LaneScheduler, settings: ConsumerSettings,
        lock: AdvisoryLock, log: Logger
    ) {
        self.consumer = consumer
        self.stream = stream
        self.pool = pool
        self.lanes = lanes
        self.settings = settings
        self.lock = lock
        self.log = log
    }

    func run() async {
        var sinceRepair = MonotonicTime.now
        var lastHanded = MonotonicTime(nanoseconds: 0)
        while !Task.isCancelled {
            do {
                if try await lock.tryAcquire(key) {
                    let replayed = try await runOnce()
                    if sinceRepair.elapsed > min(.seconds(1), settings.repairAfter) {
                        sinceRepair = .now
                        let repaired = try await repair()
                        if repaired > 0 { log.warning("asked for missing messages", ["count": repaired]) }
                    }
                    if replayed > 0 { lastHanded = .now }
                }
            } catch {
                log.warning("replay of parked messages failed", ["error": "\(error)"])
            }
            // A chain of parked messages follows one by one, so the next is looked for soon.
            let isChain = lastHanded.elapsed < .seconds(1)
            try? await Task.sleep(for: isChain ? min(.milliseconds(10), settings.replayEvery) : settings.replayEvery)
        }
    }

    /// Hands what is ready to its lanes; tasks that are busy here wait for the next pass. Returns how many it handed.
    func runOnce() async throws -> Int {
        let (consumer, queues) = (self.consumer, stream.queues)
        // Also those that end while the query runs: what it finds of them is out of date.
        let busy = await lanes.busy
        let ready = try await pool.run { try ConsumerStore.ready(consumer, queues: queues, limit: 100, in: $0) }
        var handed = 0
        for parked in ready {
            guard let message = try? Message(parked: parked.message, queue: parked.queue) else {
                try await putAside(parked)
                continue
            }
            if busy.contains(message.taskID) { continue }
            await lanes.add(
                LaneItem(message: message, redelivered: false, parkedAttempts: parked.attempts, ack: {}))
            handed += 1
        }
        return handed
    }

    private func repair() async throws -> Int {
        let (consumer, stream, queues) = (self.consumer, self.stream.name, self.stream.queues)
        let after = settings.repairAfter.inSeconds
        return try await pool.transaction {
            try ConsumerStore.repair(consumer, stream: stream, queues: queues, afterSeconds: after, in: $0)
        }
    }

    private func putAside(_ parked: ParkedMessage) async throws {
        let consumer = self.consumer
        try await pool.transaction { tx in
            try ConsumerStore.deadLetter(
                consumer, queue: parked.queue, task: parked.taskID, seq: parked.seq, messageID: nil,
                reason: "the parked form is damaged", body: parked.message, in: tx)
            _ = try ConsumerStore.advance(consumer, task: parked.taskID, to: parked.seq, in: tx)
            try ConsumerStore.unpark(consumer, task: parked.taskID, through: parked.seq, in: tx)
        }
    }

    private var key: Int64 { AdvisoryLock.key("parked \(consumer)") }
}
