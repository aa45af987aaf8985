import AMQP
import Domain
import Lifecycle
import Threads
import Postgres
import Store
import Telemetry

/// Takes one message from delivery to ack: position, attempt count, handler, outcome, commit, ack; in that order.
///
/// A message is acked only when Postgres has its effect, its parking or its dead letter. While Postgres is away the
/// message is held and tried again; a crash gives it back to the broker.
struct MessageExecutor: Sendable {
    private let handler: any MessageHandler
    private let pool: Pool
    private let group: FlightGroup
    private let settings: ConsumerSettings
    private let log: Logger
    private let handled: Counter
    private let seconds: Histogram
    private let stopping = CommitFlag()
    private let leaving = Lock<Set<String>>([])
    /// Messages that were being handled when a process ended, more than once, are handled one at a time: the one that
    /// ends processes is then counted alone, not together with its neighbours.
    private let suspects = Turnstile()
    /// How long a held message waits for its next try; the pool has a pace of its own.
    private static let holding = Backoff(initial: .milliseconds(50), cap: .seconds(1))

    init(handler: any MessageHandler, pool: Pool, settings: ConsumerSettings, log: Logger, metrics: Metrics) {
        self.handler = handler
        self.pool = pool
        group = FlightGroup(pool)
        self.settings = settings
        self.log = log
        handled = metrics.counter(
            "bgagent_messages_total", "Messages by what became of them", labels: ["consumer", "result"])
        seconds = metrics.histogram("bgagent_message_seconds", "Time to handle one message", labels: ["consumer"])
        for result in ["done", "duplicate", "parked", "retry", "snooze", "dead", "undecodable"] {
            handled.announce(handler.consumer, result)
        }
    }

    /// From here on a message that cannot be finished is left to the broker.
    func stop() { stopping.set() }

    /// The same for the messages of one queue, until `enter`.
    func leave(_ queue: String) { leaving.withLock { _ = $0.insert(queue) } }

    /// Holds the messages of a queue again until they are finished.
    func enter(_ queue: String) { leaving.withLock { _ = $0.remove(queue) } }

    private func isLeaving(_ queue: String) -> Bool {
        stopping.isSet || leaving.withLock { $0.contains(queue) }
    }

    func run(_ item: LaneItem) async {
        let message = item.message
        let context = LogContext(
            taskID: message.taskID.rawValue, traceID: TraceContext(traceparent: message.traceparent)?.traceID)
        await context.run {
            var item = item
            var failures = 0
            var deliveries: Int?
            while true {
                do {
                    let result = try await attempt(item, deliveries: &deliveries, isFirst: failures == 0)
                    handled.increment(by: 1, handler.consumer, result)
                    return item.ack()
                } catch is OurTurn {
                    continue
                } catch is AskedAgain {
                    item.isReplay = true
                } catch {
                    failures += 1
                    if failures == 1 || failures % 30 == 0 {
                        log.warning("message held", ["type": message.type, "seq": message.seq, "error": "\(error)"])
                    }
                    if isLeaving(message.queue) { return }
                    try? await Task.sleep(for: Self.holding.delay(afterFailures: failures))
                }
            }
        }
    }

    /// Puts aside what cannot be decoded; it has no task, so it holds nothing back.
    func refuse(_ delivery: Delivery, reason: String, ack: @Sendable () -> Void) async {
        let consumer = handler.consumer
        let body = String(decoding: delivery.body.prefix(65_536), as: UTF8.self).withoutZeroBytes
        while !isLeaving(delivery.queue) {
            do {
                try await pool.run { connection in
                    try ConsumerStore.deadLetter(
                        consumer, queue: delivery.queue, task: delivery.correlationID?.withoutZeroBytes, seq: nil,
                        messageID: delivery.messageID?.withoutZeroBytes, reason: reason, body: body, in: connection)
                }
                handled.increment(by: 1, consumer, "undecodable")
                log.error("message cannot be decoded", ["queue": delivery.queue, "reason": reason])
                return ack()
            } catch {
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    /// One try. Returns what became of the message; throws only what another try may mend.
    ///
    /// - Parameter deliveries: how often the message was begun, once it is known: a held one is counted once.
    private func attempt(_ item: LaneItem, deliveries: inout Int?, isFirst: Bool) async throws -> String {
        if !handler.keepsPosition { return try await hint(item.message) }
        if item.isReplay { return try await work(item) }
        if handler.callsOutside || item.isRepeat, let result = try await settle(item) { return result }
        guard item.isRepeat else { return try await work(item, in: isFirst ? group : nil) }
        let message = item.message
        guard try await attemptsBefore(message) > 0 || deliveries != nil else {
            deliveries = try await countAttempt(message)
            return try await work(item)
        }
        return try await suspects.pass {
            if isLeaving(message.queue) { throw CancellationError() }
            if deliveries == nil { deliveries = try await countAttempt(message) }
            guard let count = deliveries, count < settings.maxAttempts else {
                return try await deadLetter(item, reason: "delivered \(settings.maxAttempts) times and never finished")
            }
            return try await work(item)
        }
    }

    /// A message that only says "look".
    private func hint(_ message: Message) async throws -> String {
        let consumer = handler.consumer
        let started = MonotonicTime.now
        let outcome = try await handler.handle(message, Step(pool: pool, consumer: consumer, message: message))
        seconds.observe(started.elapsed, consumer)
        if case .done = outcome { return "done" }
        try await pool.run { connection in
            try ConsumerStore.deadLetter(
                consumer, queue: message.queue, task: message.taskID.rawValue, seq: message.seq,
                messageID: message.id, reason: "\(outcome)".asReason, body: message.text, in: connection)
        }
        log.error("message put aside", ["type": message.type, "seq": message.seq, "reason": "\(outcome)"])
        return "dead"
    }

    /// - Parameter group: with what the message may be committed. One that has failed before holds up nobody else.
    private func work(_ item: LaneItem, in group: FlightGroup? = nil) async throws -> String {
        let message = item.message
        let step = Step(
            pool: pool, consumer: handler.consumer, message: message, wasParked: item.parkedAttempts != nil,
            isReplay: item.isReplay, group: group)
        let started = MonotonicTime.now
        let outcome: Outcome
        do {
            outcome = try await handle(message, step)
        } catch is Step.Taken {
            return try await settled(item)
        } catch let error as PostgresError where error.isUnavailable || error.isConnectionLost {
            throw error
        } catch {
            // Only a drain that waited long enough cancels: no fault of the message, which comes again elsewhere.
            if Task.isCancelled { throw error }
            log.warning("handler failed", ["type": message.type, "seq": message.seq, "error": "\(error)"])
            outcome = .retry(after: wait(item), reason: "\(error)")
        }
        seconds.observe(started.elapsed, handler.consumer)
        let result = try await apply(outcome, item, step)
        if item.isRepeat { try await forgetAttempts(message) }
        return result
    }

    /// Drops what was done before, parks what is ahead; nil when it is this message's turn.
    private func settle(_ item: LaneItem) async throws -> String? {
        let consumer = handler.consumer
        let message = item.message
        let isRepeat = item.isRepeat
        return try await pool.run { connection -> String? in
            let task = message.taskID.rawValue
            switch try ConsumerStore.verdict(consumer, task: task, seq: message.seq, in: connection) {
            case .next: return nil
            case .again: throw AskedAgain()
            case .past:
                try ConsumerStore.unpark(consumer, task: task, through: message.seq, in: connection)
                if isRepeat {
                    try ConsumerStore.forgetAttempts(consumer, messageID: message.id, in: connection)
                }
                return "duplicate"
            case .ahead(let expected):
                try ConsumerStore.park(
                    consumer, queue: message.queue, task: task, seq: message.seq, message: message.parked,
                    attempts: item.parkedAttempts ?? 0, reason: "waits for \(expected)", inSeconds: 0, in: connection)
                return "parked"
            }
        }
    }

    /// What became of a message whose step was not to be had. Throws `OurTurn` when the one before it, which another
    /// process was still doing, is done by now: to ack the message then would lose it.
    private func settled(_ item: LaneItem) async throws -> String {
        guard let result = try await settle(item) else { throw OurTurn() }
        return result
    }

    private func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        let handler = self.handler
        let deadline = settings.deadline
        return try await withThrowingTaskGroup(of: Outcome?.self) { group in
            group.addTask { try await handler.handle(message, step) }
            group.addTask {
                try? await Task.sleep(for: deadline)
                return nil
            }
            defer { group.cancelAll() }
            while let first = try await group.next() {
                if let outcome = first { return outcome }
                throw HandlerDeadline(seconds: deadline.inSeconds)
            }
            throw CancellationError()
        }
    }

    private func apply(_ outcome: Outcome, _ item: LaneItem, _ step: Step) async throws -> String {
        // What is committed is done, whatever the handler made of it afterwards.
        if step.isCommitted { return "done" }
        switch outcome {
        case .done:
            do { try await step.commit([]) } catch is Step.Taken { return try await settled(item) }
            return "done"
        case .retry(let after, let reason):
            let attempts = (item.parkedAttempts ?? 0) + 1
            if attempts >= settings.maxAttempts { return try await deadLetter(item, reason: reason) }
            try await park(item, attempts: attempts, after: after, reason: reason)
            return "retry"
        case .snooze(let duration, let reason):
            try await park(item, attempts: item.parkedAttempts ?? 0, after: duration, reason: reason)
            return "snooze"
        case .deadLetter(let reason):
            return try await deadLetter(item, reason: reason)
        }
    }

    private func park(_ item: LaneItem, attempts: Int, after: Duration, reason: String) async throws {
        let consumer = handler.consumer
        let message = item.message
        try await pool.run { connection in
            try ConsumerStore.park(
                consumer, queue: message.queue, task: message.taskID.rawValue, seq: message.seq,
                message: message.parked, attempts: attempts, reason: reason.asReason, inSeconds: after.inSeconds,
                in: connection)
        }
    }

    /// Puts the message aside and passes its position, so that the task's later messages are handled.
    private func deadLetter(_ item: LaneItem, reason: String) async throws -> String {
        let consumer = handler.consumer
        let message = item.message
        let step = Step(
            pool: pool, consumer: consumer, message: message, wasParked: true, isReplay: item.isReplay)
        do {
            try await step.commit { tx in
                try ConsumerStore.deadLetter(
                    consumer, queue: message.queue, task: message.taskID.rawValue, seq: message.seq,
                    messageID: message.id, reason: reason.asReason, body: message.text, in: tx)
                try ConsumerStore.forgetAttempts(consumer, messageID: message.id, in: tx)
            }
        } catch is Step.Taken {
            return try await settled(item)
        }
        log.error("message put aside", ["type": message.type, "seq": message.seq, "reason": reason])
        return "dead"
    }

    private func wait(_ item: LaneItem) -> Duration {
        settings.retry.delay(afterAttempt: (item.parkedAttempts ?? 0) + 1) ?? settings.retry.cap
    }

    private func attemptsBefore(_ message: Message) async throws -> Int {
        let consumer = handler.consumer
        return try await pool.run { try ConsumerStore.attempts(consumer, messageID: message.id, in: $0) }
    }

    private func countAttempt(_ message: Message) async throws -> Int {
        let consumer = handler.consumer
        return try await pool.run { try ConsumerStore.countAttempt(consumer, messageID: message.id, in: $0) }
    }

    private func forgetAttempts(_ message: Message) async throws {
        let consumer = handler.consumer
        try await pool.run { try ConsumerStore.forgetAttempts(consumer, messageID: message.id, in: $0) }
    }
}

/// The message before this one has just been done elsewhere: look again at once.
private struct OurTurn: Error {}

/// A person wants this message done once more, behind the position.
private struct AskedAgain: Error {}

extension String {
    /// A text of Postgres holds no zero byte; a message that brought one would be tried for ever.
    fileprivate var withoutZeroBytes: String { utf8.contains(0) ? filter { $0 != "\0" } : self }

    /// Short enough for a person to read.
    fileprivate var asReason: String { String(prefix(2000)).withoutZeroBytes }
}

/// A handler did not answer in time; its message is tried again.
struct HandlerDeadline: Error, CustomStringConvertible {
    let seconds: Double
    var description: String { "no answer within \(seconds) s" }
}
