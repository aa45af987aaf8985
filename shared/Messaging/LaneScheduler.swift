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
    private var running: [TaskID: Task<Void, Never>] = [:]
    private var ready: [TaskID] = []
    private var refusals = 0
    private var closed = false
    private var idle: [CheckedContinuation<Void, Never>] = []

    init(width: Int, executor: MessageExecutor) {
        self.width = width
        self.executor = executor
    }

    /// Puts an item behind those of its task. After `drain` began, nothing is taken: it stays with the broker.
    func add(_ item: LaneItem) {
        guard !closed else { return }
        let task = item.message.taskID
        waiting[task, default: []].append(item)
        if running[task] == nil && waiting[task]?.count == 1 { ready.append(task) }
        startLanes()
    }

    /// A message that cannot be decoded belongs to no lane.
    func refuse(_ delivery: Delivery, reason: String, ack: @escaping @Sendable () -> Void) {
        guard !closed else { return }
        refusals += 1
        Task {
            await executor.refuse(delivery, reason: reason, ack: ack)
            refusals -= 1
            tellIdle()
        }
    }

    /// Tasks whose messages are queued or handled here.
    var busy: Set<TaskID> { Set(running.keys).union(waiting.keys) }

    /// Drops what has not begun: the connection it came by is gone, so all of it comes again.
    func forgetWaiting() {
        waiting.removeAll()
        ready.removeAll()
    }

    /// Takes nothing new and returns when what runs has ended. What takes too long is cancelled and left to the broker.
    func drain() async {
        closed = true
        executor.stop()
        forgetWaiting()
        if isIdle { return }
        let limit = Task {
            try await Task.sleep(for: LaneScheduler.patience)
            for lane in running.values { lane.cancel() }
        }
        await withCheckedContinuation { idle.append($0) }
        limit.cancel()
    }

    private var isIdle: Bool { running.isEmpty && refusals == 0 }

    private func tellIdle() {
        guard isIdle else { return }
        for continuation in idle { continuation.resume() }
        idle.removeAll()
    }

    private func startLanes() {
        while running.count < width, !ready.isEmpty {
            let task = ready.removeFirst()
            running[task] = Task { await self.runLane(task) }
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
