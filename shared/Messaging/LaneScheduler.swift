import AMQP
import Domain

/// One message on its way through a lane.
struct LaneItem: Sendable {
    let message: Message
    let redelivered: Bool
    /// Attempts so far when it comes from Postgres; nil when it comes from the broker.
    let parkedAttempts: Int?
    let ack: @Sendable () -> Void
    /// True once it is known to lie behind the position and to have been asked for once more.
    var isReplay = false

    /// True when it may have been begun before: such a message is counted before it is handled.
    var isRepeat: Bool { redelivered || parkedAttempts != nil }
}

/// A lane per task: one message of a task at a time, in order; different tasks side by side, up to `width`.
///
/// Holds no more than the broker's prefetch and one page of parked messages, so its queues need no bound of their own.
actor LaneScheduler {
    /// How long a drain waits for handlers before it cancels them: below what a process has for its end.
    private static let patience = Duration.seconds(7)

    private let width: Int
    private let executor: MessageExecutor
    private var waiting: [TaskID: [LaneItem]] = [:]
    private var running: [TaskID: Lane] = [:]
    private var ready: [TaskID] = []
    /// Messages that are put aside just now, by queue.
    private var refusals: [String: Int] = [:]
    private var closed = false
    /// Queues of which nothing is taken.
    private var leaving: Set<String> = []
    private var idle: [Waiter] = []

    private struct Lane {
        let queue: String
        var work: Task<Void, Never>?
    }

    /// Waits until nothing runs: of one queue, or of all.
    private struct Waiter {
        let queue: String?
        let continuation: CheckedContinuation<Void, Never>
    }

    init(width: Int, executor: MessageExecutor) {
        self.width = width
        self.executor = executor
    }

    /// Puts an item behind those of its task. After `drain` began, nothing is taken: it stays with the broker.
    func add(_ item: LaneItem) {
        guard !closed, !leaving.contains(item.message.queue) else { return }
        let task = item.message.taskID
        waiting[task, default: []].append(item)
        if running[task] == nil && waiting[task]?.count == 1 { ready.append(task) }
        startLanes()
    }

    /// A message that cannot be decoded belongs to no lane.
    func refuse(_ delivery: Delivery, reason: String, ack: @escaping @Sendable () -> Void) {
        guard !closed, !leaving.contains(delivery.queue) else { return }
        refusals[delivery.queue, default: 0] += 1
        Task {
            await executor.refuse(delivery, reason: reason, ack: ack)
            refusals[delivery.queue, default: 0] -= 1
            tellIdle()
        }
    }

    /// Tasks whose messages are queued or handled here.
    var busy: Set<TaskID> { Set(running.keys).union(waiting.keys) }

    /// Queues of which a message is queued or handled here.
    var busyQueues: Set<String> {
        Set(running.values.map(\.queue)).union(waiting.values.compactMap { $0.first?.message.queue })
    }

    /// Takes messages of a queue again, after `drain` or `forget`.
    func open(_ queue: String) {
        leaving.remove(queue)
        executor.enter(queue)
    }

    /// Drops what has not begun of a queue: the channel it came by is gone, so all of it comes again. Who waits for what
    /// runs waits no longer.
    func forget(_ queue: String) {
        dropWaiting(of: queue)
        release { $0.queue == queue }
    }

    /// Takes nothing new of a queue and returns when what runs of it has ended, which its handlers' deadline bounds. What
    /// cannot be finished is left to the broker.
    ///
    /// - Parameter isLost: true when what runs could not be acked any more; then nothing is waited for.
    func drain(_ queue: String, unless isLost: @Sendable () -> Bool = { false }) async {
        leaving.insert(queue)
        executor.leave(queue)
        dropWaiting(of: queue)
        if isIdle(queue) || isLost() { return }
        await withCheckedContinuation { idle.append(Waiter(queue: queue, continuation: $0)) }
    }

    /// Takes nothing new at all and returns when what runs has ended. What takes too long is cancelled and left to the
    /// broker.
    func drain() async {
        closed = true
        executor.stop()
        waiting.removeAll()
        ready.removeAll()
        if isIdle(nil) { return }
        let limit = Task {
            try await Task.sleep(for: LaneScheduler.patience)
            for lane in running.values { lane.work?.cancel() }
        }
        await withCheckedContinuation { idle.append(Waiter(queue: nil, continuation: $0)) }
        limit.cancel()
    }

    private func dropWaiting(of queue: String) {
        waiting = waiting.filter { $0.value.first?.message.queue != queue }
        ready.removeAll { waiting[$0] == nil }
    }

    private func isIdle(_ queue: String?) -> Bool {
        guard let queue else { return running.isEmpty && refusals.values.allSatisfy { $0 == 0 } }
        return refusals[queue, default: 0] == 0 && !running.values.contains { $0.queue == queue }
    }

    private func tellIdle() {
        release { isIdle($0.queue) }
    }

    private func release(_ isOver: (Waiter) -> Bool) {
        let over = idle.filter(isOver)
        guard !over.isEmpty else { return }
        idle.removeAll(where: isOver)
        for waiter in over { waiter.continuation.resume() }
    }

    private func startLanes() {
        while running.count < width, !ready.isEmpty {
            let task = ready.removeFirst()
            guard let queue = waiting[task]?.first?.message.queue else { continue }
            running[task] = Lane(queue: queue, work: Task { await self.runLane(task) })
        }
    }

    /// Handles a lane's messages until none is left or another task waits for the place: then it lines up again.
    private func runLane(_ task: TaskID) async {
        while let item = next(task) {
            await executor.run(item)
            if !ready.isEmpty { break }
        }
        running[task] = nil
        if waiting[task] != nil { ready.append(task) }
        tellIdle()
        startLanes()
    }

    private func next(_ task: TaskID) -> LaneItem? {
        guard var items = waiting[task], !items.isEmpty else { return nil }
        let item = items.removeFirst()
        waiting[task] = items.isEmpty ? nil : items
        return item
    }
}
