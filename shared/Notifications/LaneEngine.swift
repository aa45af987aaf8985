import Domain
import Store
import Telemetry

/// Which lanes are at work: one worker per lane, up to `width` of them; a wake of a busy lane makes it look once more.
///
/// Keeps nothing that the ledger does not know: what is lost here is found by the next pass.
package actor LaneEngine<Channel: NotificationChannel> {
    private let worker: LaneWorker<Channel>
    private let width: Int
    private let lanes: Gauge
    /// True: woken again while at work.
    private var active: [EffectLane: Bool] = [:]
    private var waiting: [EffectLane] = []
    private var queued: Set<EffectLane> = []
    private var isClosed = false
    private var idle: [CheckedContinuation<Void, Never>] = []

    package init(_ worker: LaneWorker<Channel>, width: Int, metrics: Metrics = .process) {
        self.worker = worker
        self.width = width
        lanes = metrics.gauge("bgagent_delivery_lanes", "Lanes at work", labels: ["channel"])
        lanes.set(0, Channel.name)
    }

    /// Something in the lane may be due.
    package func wake(_ lane: EffectLane) {
        if isClosed { return }
        if active[lane] != nil {
            active[lane] = true
        } else if active.count < width {
            start(lane)
        } else if queued.insert(lane).inserted {
            waiting.append(lane)
        }
    }

    package func wake(_ lanes: [EffectLane]) {
        for lane in lanes { wake(lane) }
    }

    /// Returns when no lane is at work.
    package func whenIdle() async {
        if active.isEmpty { return }
        await withCheckedContinuation { idle.append($0) }
    }

    /// Starts nothing new and returns when what is being sent has been marked.
    package func drain() async {
        isClosed = true
        waiting.removeAll()
        queued.removeAll()
        await whenIdle()
    }

    private func start(_ lane: EffectLane) {
        active[lane] = false
        lanes.set(Double(active.count), Channel.name)
        Task {
            await worker.run(lane)
            ended(lane)
        }
    }

    private func ended(_ lane: EffectLane) {
        let isWanted = active.removeValue(forKey: lane) ?? false
        if isWanted && !isClosed { wake(lane) }
        while active.count < width, !waiting.isEmpty {
            let next = waiting.removeFirst()
            queued.remove(next)
            start(next)
        }
        lanes.set(Double(active.count), Channel.name)
        if active.isEmpty {
            for continuation in idle { continuation.resume() }
            idle.removeAll()
        }
    }
}
