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
    /// Claims and marks of all lanes at work.
    private let group: FlightGroup
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
        group = FlightGroup(pool)
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
                var next = try await claim(lane)
                while let held = next { next = try await work(held, lane) }
            } catch {
                log.warning("a lane waits", ["channel": Channel.name, "error": "\(error)"])
            }
        }
    }

    /// A claim, and when it was asked for: by our own clock its lease is over no later than counted from there.
    private struct Held {
        let effect: ClaimedEffect
        let since: MonotonicTime
    }

    /// Claims the head of the lane. Nil when nothing is due, or the rate limit says "later".
    private func claim(_ lane: EffectLane) async throws -> Held? {
        let bucket = Channel.bucket(of: lane.target)
        guard gate.take(bucket) else { return nil }
        do {
            let claim = EffectStore.Claim(lane, rules, token: try Random.hexToken(bytes: 16))
            let asked = MonotonicTime.now
            let (claimed, superseded) = try claim.result(try await group.run(claim.flight, key: lane.key))
            return noted(claimed, superseded, bucket).map { Held(effect: $0, since: asked) }
        } catch {
            gate.giveBack(bucket)
            throw error
        }
    }

    private func noted(_ claimed: ClaimedEffect?, _ superseded: Int, _ bucket: String) -> ClaimedEffect? {
        if superseded > 0 { deliveries.increment(by: Double(superseded), Channel.name, "superseded") }
        if claimed == nil { gate.giveBack(bucket) }
        return claimed
    }

    /// Deals with what was claimed and returns the next of the lane.
    private func work(_ held: Held, _ lane: EffectLane) async throws -> Held? {
        let claimed = held.effect
        if let most = settings.retry.maxAttempts, claimed.attempts > most {
            return try await settle(.dead(claimed, error: "given up after \(most) tries"), "dead", claimed, lane)
        }
        let span = await begin(claimed, lane)
        let result: Swift.Result<Receipt, SendError>
        do {
            result = .success(try await deliver(claimed, lane, since: held.since))
            span?.finish()
        } catch {
            result = .failure(error)
            span?.finish(errorType: error.kind.name)
        }
        return try await note(result, of: claimed, lane)
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

    /// Writes down what became of a try.
    private func note(
        _ result: Swift.Result<Receipt, SendError>, of claimed: ClaimedEffect, _ lane: EffectLane
    ) async throws -> Held? {
        let settleSeconds = settings.settle.inSeconds
        switch result {
        case .success(let receipt):
            return try await settle(
                .sent(claimed, externalRef: receipt.externalRef, state: receipt.state), "sent", claimed, lane)
        case .failure(let error):
            log.warning(
                "not notified",
                [
                    "channel": Channel.name, "event": claimed.eventType, "attempts": claimed.attempts,
                    "kind": "\(error.kind)", "error": error.message,
                ])
            switch error.kind {
            case .refused:
                return try await settle(.dead(claimed, error: error.message), "dead", claimed, lane)
            case .unknown:
                return try await settle(
                    .unknown(claimed, settleSeconds: settleSeconds, error: error.message), "unknown", claimed, lane)
            case .rateLimited(let retryAfter):
                let delay = max(retryAfter ?? .zero, settings.retry.delay(afterAttempt: 1) ?? settings.retry.base)
                gate.hold(Channel.bucket(of: lane.target), for: delay)
                return try await settle(retry(claimed, after: delay, error, counts: false), "retry", claimed, lane)
            case .unavailable:
                guard let delay = settings.retry.delay(afterAttempt: claimed.attempts) else {
                    return try await settle(.dead(claimed, error: error.message), "dead", claimed, lane)
                }
                return try await settle(retry(claimed, after: delay, error, counts: true), "retry", claimed, lane)
            }
        }
    }

    /// A look-up that failed leaves the effect unknown: only a send that surely failed makes it planned again.
    private func retry(
        _ claimed: ClaimedEffect, after delay: Duration, _ error: SendError, counts: Bool
    ) -> EffectMark {
        claimed.wasUnknown
            ? .unknown(claimed, settleSeconds: delay.inSeconds, error: error.message)
            : .released(claimed, afterSeconds: delay.inSeconds, error: error.message, counts: counts)
    }

    /// Marks, and claims the next of the lane on the same trip where the rate limit allows it.
    ///
    /// With patience: while Postgres is away the knowledge is kept here, for as long as the claim holds. From the second
    /// try on nothing is claimed: a claim whose answer was lost would hold the lane until it runs out.
    private func settle(
        _ mark: EffectMark, _ result: String, _ claimed: ClaimedEffect, _ lane: EffectLane
    ) async throws -> Held? {
        let bucket = Channel.bucket(of: lane.target)
        let deadline = Deadline.after(settings.lease)
        let following = EffectStore.Claim(lane, rules, token: try Random.hexToken(bytes: 16))
        var failures = 0
        while true {
            let goesOn = failures == 0 && gate.take(bucket)
            let asked = MonotonicTime.now
            do {
                let settlement = EffectStore.Settlement(mark, next: goesOn ? following : nil)
                let (isOurs, next, superseded) = try settlement.result(
                    try await group.run(settlement.flight, key: lane.key))
                deliveries.increment(by: 1, Channel.name, isOurs ? result : "lost")
                if !isOurs { log.warning("a claim was lost", ["channel": Channel.name, "effect": claimed.id]) }
                if goesOn { return noted(next, superseded, bucket).map { Held(effect: $0, since: asked) } }
                return failures == 0 ? nil : try await claim(lane)
            } catch {
                if goesOn { gate.giveBack(bucket) }
                guard error is PostgresError, !deadline.isOver else { throw error }
                failures += 1
                log.warning("the ledger waits", ["channel": Channel.name, "error": "\(error)"])
                try await Task.sleep(for: Backoff(cap: .seconds(2)).delay(afterFailures: failures))
            }
        }
    }
}
