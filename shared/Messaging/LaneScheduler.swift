import AMQP
import Domain

/// One message on its way through a lane.
struct LaneItem: Sendable {
    let message: Message
    let redelivered: Bool
    /// Attempts so far when it comes from Postgres; nil when it comes from the broker.
    let parkedAttempts: Int?
    let ack: @Sendable () -> Void
}

/// A lane per task: one message of a task at a time, in order; different tasks side by side, up to `width`.
///
/// Holds no more than the broker's prefetch and one page of parked messages, so its queues need no bound of their own.
actor LaneScheduler {
    private let width: Int
    private let executor: MessageExecutor
    private var waiting: [TaskID: [LaneItem]] = [:]
    private var active: Set<TaskID> = []
    private var ready: [TaskID] = []
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
        if !active.contains(task) && waiting[task]?.count == 1 { ready.append(task) }
        startLanes()
    }

    /// A message that cannot be decoded belongs to no lane.
    func refuse(_ delivery: Delivery, reason: String, ack: @escaping @Sendable () -> Void) {
        guard !closed else { return }
        Task { await executor.refuse(delivery, reason: reason, ack: ack) }
    }

    /// True while messages of the task are queued or handled here.
    func isBusy(_ task: TaskID) -> Bool { active.contains(task) || waiting[task] != nil }

    /// Takes nothing new and returns when what runs has ended.
    func drain() async {
        closed = true
        executor.stop()
        waiting.removeAll()
        ready.removeAll()
        if active.isEmpty { return }
        await withCheckedContinuation { idle.append($0) }
    }

    private func startLanes() {
        while active.count < width, !ready.isEmpty {
            let task = ready.removeFirst()
            active.insert(task)
            Task { await self.runLane(task) }
        }
    }

    private func runLane(_ task: TaskID) async {
        while let item = next(task) { await executor.run(item) }
        active.remove(task)
        if active.isEmpty {
            for continuation in idle { continuation.resume() }
            idle.removeAll()
        }
        startLanes()
    }

    /// The next item of an active lane. Yields its place after each message when others wait.
    private func next(_ task: TaskID) -> LaneItem? {
        guard var items = waiting[task], !items.isEmpty else {
            waiting[task] = nil
            return nil
        }
        let item = items.removeFirst()
        waiting[task] = items.isEmpty ? nil : items
        return item
    }
}
