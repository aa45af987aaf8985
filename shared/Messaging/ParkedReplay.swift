import Domain
import Lifecycle
import Threads
import Postgres
import Store
import Telemetry

/// Brings parked messages back into their lanes when it is their turn, and has missing ones made again.
///
/// One process at a time does it for a partition, by an advisory lock; positions would keep two harmless. The owner of
/// the partition takes the lock whenever it is free. Another takes it only when it stays free, because the owner has
/// died and nobody has noticed yet, and gives it back when it has nothing of the partition in hand.
final class ParkedReplay: Sendable {
    private let consumer: String
    private let stream: TaskStream
    private let pool: Pool
    private let lanes: LaneScheduler
    private let lines: PartitionLines
    private let settings: ConsumerSettings
    private let lock: AdvisoryLock
    private let log: Logger

    init(
        consumer: String, stream: TaskStream, pool: Pool, lanes: LaneScheduler, lines: PartitionLines,
        settings: ConsumerSettings, lock: AdvisoryLock, log: Logger
    ) {
        self.consumer = consumer
        self.stream = stream
        self.pool = pool
        self.lanes = lanes
        self.lines = lines
        self.settings = settings
        self.lock = lock
        self.log = log
    }

    func run() async {
        var sinceRepair = MonotonicTime.now
        var lastHanded = MonotonicTime(nanoseconds: 0)
        var others = Array(repeating: MonotonicTime.now, count: stream.queues.count)
        while !Task.isCancelled {
            do {
                let queues = try await held(&others)
                if !queues.isEmpty {
                    let replayed = try await runOnce(queues)
                    if sinceRepair.elapsed > min(.seconds(1), settings.repairAfter) {
                        sinceRepair = .now
                        let repaired = try await repair(queues)
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
        await handOver()
    }

    /// Gives the locks back, each when nothing of its partition is in hand.
    private func handOver() async {
        await withTaskGroup(of: Void.self) { group in
            for (partition, queue) in stream.queues.enumerated() where lock.isHeld(key(partition)) {
                group.addTask {
                    await self.lanes.drain(queue)
                    try? await self.lock.release(self.key(partition))
                }
            }
        }
    }

    /// The queues that this process replays now.
    ///
    /// - Parameter others: when it last took, gave back or tried the lock of each partition that it does not own.
    private func held(_ others: inout [MonotonicTime]) async throws -> [String] {
        let owned = lines.owned
        let busy = await lanes.busyQueues
        var held: [String] = []
        for (partition, queue) in stream.queues.enumerated() {
            let name = key(partition)
            let isDue = owned.contains(partition) || others[partition].elapsed >= settings.replayEvery * 4
            if lock.isHeld(name) {
                if owned.contains(partition) || !isDue || busy.contains(queue) {
                    held.append(queue)
                } else {
                    others[partition] = .now
                    try await lock.release(name)
                }
            } else if isDue {
                others[partition] = .now
                if try await lock.tryAcquire(name) { held.append(queue) }
            }
        }
        return held
    }

    /// Hands what is ready to its lanes; tasks that are busy here wait for the next pass. Returns how many it handed.
    private func runOnce(_ queues: [String]) async throws -> Int {
        let consumer = self.consumer
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

    private func repair(_ queues: [String]) async throws -> Int {
        let (consumer, stream) = (self.consumer, self.stream.name)
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

    private func key(_ partition: Int) -> Int64 { AdvisoryLock.key("parked \(consumer)", partition) }
}
