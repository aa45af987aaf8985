import Crypto
import Domain
import Lifecycle
import Postgres
import Store
import Telemetry
import Tracing

/// Sends what is due in a lane, one after the other: claim, look up where needed, send, mark.
///
/// A crash before the send leaves a claim that runs out; after the send, one that is looked up. Nothing is sent inside
/// a transaction, and nothing is marked without the claim's token.
package struct LaneWorker<Channel: NotificationChannel>: Sendable {
    private let channel: Channel
    private let pool: Pool
    private let settings: DispatcherSettings
    private let rules: ClaimRules
    private let gate: RateGate
    private let tracer: Tracer
    private let log: Logger
    private let deliveries: Counter
    private let seconds: Histogram
    private let wait: Histogram

    package init(
        _ channel: Channel, pool: Pool, settings: DispatcherSettings = DispatcherSettings(), tracer: Tracer = .off,
        log: Logger, metrics: Metrics = .process
    ) {
        self.channel = channel
        self.pool = pool
        self.settings = settings
        self.tracer = tracer
        self.log = log
        rules = ClaimRules(
            channel: Channel.name, editsInPlace: Channel.editsInPlace, leaseSeconds: settings.lease.inSeconds)
        gate = RateGate(Channel.pace)
        deliveries = metrics.counter(
            "bgagent_deliveries_total", "Tries to notify by what became of them", labels: ["channel", "result"])
        for result in ["sent", "found", "superseded", "retry", "unknown", "dead", "lost"] {
            deliveries.announce(Channel.name, result)
        }
        seconds = metrics.histogram(
            "bgagent_delivery_seconds", "Time that the other side took for one send", labels: ["channel"])
        wait = metrics.histogram(
            "bgagent_delivery_wait_seconds", "From the plan to the first send", labels: ["channel"])
    }

    /// Works on the lane until nothing in it is due. While Postgres is away it gives up; the next pass comes back.
    package func run(_ lane: EffectLane) async {
        await LogContext(taskID: lane.task.rawValue).run {
            do {
                while try await runOnce(lane), !Task.isCancelled {}
            } catch {
                log.warning("a lane waits", ["channel": Channel.name, "error": "\(error)"])
            }
        }
    }

    /// Deals with the head of the lane. False when nothing is due, or the rate limit says "later".
    package func runOnce(_ lane: EffectLane) async throws -> Bool {
        let bucket = Channel.bucket(of: lane.target)
        guard gate.take(bucket) else { return false }
        let started = MonotonicTime.now
        let claimed: ClaimedEffect?
        do {
            claimed = try await claim(lane)
        } catch {
            gate.giveBack(bucket)
            throw error
        }
        guard let claimed else {
            gate.giveBack(bucket)
            return false
        }
        if let most = settings.retry.maxAttempts, claimed.attempts > most {
            return try await mark(claimed, "dead") { connection in
                try EffectStore.markDead(claimed, error: "given up after \(most) tries", in: connection)
            }
        }
        let span = await begin(claimed, lane)
        let result: Swift.Result<Receipt, SendError>
        do {
            result = .success(try await deliver(claimed, lane, since: started))
            span?.finish()
        } catch {
            result = .failure(error)
            span?.finish(errorType: error.kind.name)
        }
        return try await note(result, of: claimed, lane)
    }

    private func claim(_ lane: EffectLane) async throws -> ClaimedEffect? {
        let rules = self.rules
        let token = try Random.hexToken(bytes: 16)
        let (claimed, superseded) = try await pool.run {
            try EffectStore.claim(lane, rules, token: token, in: $0)
        }
        if superseded > 0 { deliveries.increment(by: Double(superseded), Channel.name, "superseded") }
        return claimed
    }

    /// The try as a part of fanout's decision. Nil when it is not traced, or Postgres does not say.
    private func begin(_ claimed: ClaimedEffect, _ lane: EffectLane) async -> LiveSpan? {
        guard tracer.isOn, let eventID = claimed.eventID,
            let traceparent = try? await pool.run({ try TraceStore.traceparent(lane.task, in: $0) })
        else { return nil }
        return tracer.begin(
            "send \(Channel.name)", in: TaskTrace(traceparent)?.decision(eventID), kind: .client,
            [
                "bgagent.task.id": .text(lane.task.rawValue), "bgagent.channel": .text(Channel.name),
                "bgagent.event.type": .text(claimed.eventType), "bgagent.delivery.attempt": SpanValue(claimed.attempts),
            ])
    }

    private func deliver(
        _ claimed: ClaimedEffect, _ lane: EffectLane, since started: MonotonicTime
    ) async throws(SendError) -> Receipt {
        guard let notification = try? JSONText.decode(TaskNotification.self, claimed.payload) else {
            throw SendError(.refused, "the payload is not one that this build can read")
        }
        let message = channel.render(notification)
        let delivery = ChannelDelivery(
            effectID: claimed.id, taskID: lane.task, target: lane.target, state: claimed.state,
            plannedAt: claimed.plannedAt)
        if claimed.wasUnknown, case .found(let receipt) = try await channel.lookUp(message, as: delivery) {
            deliveries.increment(by: 1, Channel.name, "found")
            return receipt
        }
        // A process that was frozen here must not send what somebody else may be sending by now.
        guard started.elapsed < settings.lease / 2 else { throw SendError(.unknown, "the claim is nearly over") }
        if claimed.attempts == 1 { wait.observe(claimed.age, Channel.name) }
        let sending = MonotonicTime.now
        defer { seconds.observe(sending.elapsed, Channel.name) }
        return try await channel.send(message, as: delivery)
    }

    /// Writes down what became of a try. True when the lane may go on.
    private func note(
        _ result: Swift.Result<Receipt, SendError>, of claimed: ClaimedEffect, _ lane: EffectLane
    ) async throws -> Bool {
        let settle = settings.settle.inSeconds
        switch result {
        case .success(let receipt):
            return try await mark(claimed, "sent") { connection in
                try EffectStore.markSent(
                    claimed, externalRef: receipt.externalRef, state: receipt.state, in: connection)
            }
        case .failure(let error):
            log.warning(
                "not notified",
                [
                    "channel": Channel.name, "event": claimed.eventType, "attempts": claimed.attempts,
                    "kind": "\(error.kind)", "error": error.message,
                ])
            switch error.kind {
            case .refused:
                return try await mark(claimed, "dead") { connection in
                    try EffectStore.markDead(claimed, error: error.message, in: connection)
                }
            case .unknown:
                return try await mark(claimed, "unknown") { connection in
                    try EffectStore.markUnknown(claimed, settleSeconds: settle, error: error.message, in: connection)
                }
            case .rateLimited(let retryAfter):
                let delay = max(retryAfter ?? .zero, settings.retry.delay(afterAttempt: 1) ?? settings.retry.base)
                gate.hold(Channel.bucket(of: lane.target), for: delay)
                return try await retry(claimed, after: delay, error, counts: false)
            case .unavailable:
                guard let delay = settings.retry.delay(afterAttempt: claimed.attempts) else {
                    return try await mark(claimed, "dead") { connection in
                        try EffectStore.markDead(claimed, error: error.message, in: connection)
                    }
                }
                return try await retry(claimed, after: delay, error, counts: true)
            }
        }
    }

    /// A look-up that failed leaves the effect unknown: only a send that surely failed makes it planned again.
    private func retry(
        _ claimed: ClaimedEffect, after delay: Duration, _ error: SendError, counts: Bool
    ) async throws -> Bool {
        try await mark(claimed, "retry") { connection in
            claimed.wasUnknown
                ? try EffectStore.markUnknown(
                    claimed, settleSeconds: delay.inSeconds, error: error.message, in: connection)
                : try EffectStore.release(
                    claimed, afterSeconds: delay.inSeconds, error: error.message, counts: counts, in: connection)
        }
    }

    /// Marks with patience: while Postgres is away the knowledge is kept here, for as long as the claim holds.
    private func mark(
        _ claimed: ClaimedEffect, _ result: String, _ write: @escaping @Sendable (Connection) throws -> Bool
    ) async throws -> Bool {
        let deadline = Deadline.after(settings.lease)
        var failures = 0
        while true {
            do {
                let isOurs = try await pool.run(write)
                deliveries.increment(by: 1, Channel.name, isOurs ? result : "lost")
                if !isOurs { log.warning("a claim was lost", ["channel": Channel.name, "effect": claimed.id]) }
                return true
            } catch let error as PostgresError where !deadline.isOver {
                failures += 1
                log.warning("the ledger waits", ["channel": Channel.name, "error": "\(error)"])
                try await Task.sleep(for: Backoff(cap: .seconds(2)).delay(afterFailures: failures))
            }
        }
    }
}
