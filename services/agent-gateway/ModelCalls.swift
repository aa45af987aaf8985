import Domain
import Telemetry
import Threads
import Tracing

/// How many requests each session has under way in this process.
final class SessionSlots: Sendable {
    private let limit: Int
    private let taken = Lock<[String: Int]>([:])

    init(limit: Int) { self.limit = limit }

    /// False when the session has all it may have.
    func take(_ session: String) -> Bool {
        taken.withLock { taken in
            let count = taken[session] ?? 0
            if count >= limit { return false }
            taken[session] = count + 1
            return true
        }
    }

    func give(_ session: String) {
        taken.withLock { taken in
            let count = (taken[session] ?? 1) - 1
            taken[session] = count > 0 ? count : nil
        }
    }
}

/// Books calls, and those that Postgres would not take at once again later. What is not booked when the process dies is
/// charged by its estimate.
final class Settlements: Sendable {
    private enum Booking {
        case cost(ModelCall, ModelCost)
        case nothing(ModelCall)
    }

    private let ledger: ModelLedger
    private let log: Logger
    private let waiting = Lock<[Booking]>([])

    init(ledger: ModelLedger, log: Logger) {
        self.ledger = ledger
        self.log = log
    }

    func settle(_ call: ModelCall, _ cost: ModelCost) { book(.cost(call, cost)) }
    func release(_ call: ModelCall) { book(.nothing(call)) }

    /// Keeps this process's reservations, and books what waits. Throws what Postgres throws; nothing is lost by it.
    func keep() throws {
        try ledger.keep()
        let bookings = waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for booking in bookings { book(booking) }
    }

    private func book(_ booking: Booking) {
        do {
            switch booking {
            case .cost(let call, let cost): try ledger.settle(call, cost)
            case .nothing(let call): try ledger.release(call)
            }
        } catch {
            log.warning("a model call is booked later", ["error": "\(error)"])
            waiting.withLock { $0.append(booking) }
        }
    }
}

/// A call from its reservation to its end, which comes once, however it comes.
final class OpenCall: Sendable {
    let request: ModelRequest
    let body: [UInt8]
    private let call: ModelCall
    private let sent: TokenUsage
    private let started: MonotonicTime
    private let prices: PriceTable
    private let settlements: Settlements
    private let metrics: ModelMetrics
    private let span: LiveSpan?
    private let giveBack: @Sendable () -> Void
    private let isOver = Lock(false)

    /// - Parameters:
    ///   - sent: what the body comes to when the model does not say.
    ///   - giveBack: called at the end.
    init(
        call: ModelCall, request: ModelRequest, sent: TokenUsage, body: [UInt8], started: MonotonicTime,
        prices: PriceTable, settlements: Settlements, metrics: ModelMetrics, span: LiveSpan? = nil,
        giveBack: @escaping @Sendable () -> Void
    ) {
        self.call = call
        self.request = request
        self.sent = sent
        self.body = body
        self.started = started
        self.prices = prices
        self.settlements = settlements
        self.metrics = metrics
        self.span = span
        self.giveBack = giveBack
        metrics.began()
    }

    /// It cost nothing.
    func fail(status: Int) {
        end(status, [:]) { settlements.release(call) }
    }

    /// It cost what the meter read, or, when the model said nothing, at least what was sent.
    func settle(_ meter: UsageMeter, status: Int) {
        let usage = meter.isKnown ? meter.counted : sent
        let model = meter.model ?? request.model
        let (price, isKnown) = prices.price(of: model)
        let cost = ModelCost(
            cost: price.cost(of: usage), usage: usage, model: model, isPriceKnown: isKnown,
            isEstimated: !meter.isKnown)
        let told: SpanAttributes = [
            "gen_ai.response.model": .text(model), "gen_ai.usage.input_tokens": .integer(usage.input),
            "gen_ai.usage.output_tokens": .integer(usage.output), "bgagent.cost_usd": .number(cost.cost.dollars),
        ]
        end(status, told) { settlements.settle(call, cost) }
        metrics.spent(request.model, usage, cost.cost)
    }

    private func end(_ status: Int, _ told: SpanAttributes, _ book: () -> Void) {
        let isFirst = isOver.withLock { isOver in
            defer { isOver = true }
            return !isOver
        }
        guard isFirst else { return }
        book()
        giveBack()
        metrics.ended(request.model, status: status, started.elapsed)
        span?.finish(told, errorType: (200..<300).contains(status) ? nil : String(status))
    }
}

/// What operators see of the model.
struct ModelMetrics: Sendable {
    private let requests: Counter
    private let refusals: Counter
    private let tokens: Counter
    private let cost: Counter
    private let seconds: Histogram
    private let underWay: Gauge

    init(_ metrics: Metrics) {
        requests = metrics.counter(
            "bgagent_model_requests_total", "Requests that were passed on to the model, by what came of them.",
            labels: ["model", "status"])
        refusals = metrics.counter(
            "bgagent_model_refusals_total", "Requests to the model that were answered here instead, by the error told.",
            labels: ["type"])
        for type in ["budget_exhausted", "rate_limit_error", "invalid_request_error", "overloaded_error"] {
            refusals.announce(type)
        }
        tokens = metrics.counter("bgagent_model_tokens_total", "Tokens of the model.", labels: ["model", "kind"])
        cost = metrics.counter("bgagent_model_cost_usd_total", "Dollars spent on the model.", labels: ["model"])
        seconds = metrics.histogram(
            "bgagent_model_request_seconds", "From the request to the last byte of the answer.", labels: ["model"],
            bounds: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600])
        underWay = metrics.gauge("bgagent_model_requests_in_flight", "Requests to the model under way.")
        underWay.set(0)
    }

    func began() { underWay.add(1) }

    func ended(_ model: String, status: Int, _ elapsed: Duration) {
        underWay.add(-1)
        requests.increment(model, String(status))
        seconds.observe(elapsed, model)
    }

    /// Answered here. Without the model's name, which would be whatever an agent wrote.
    func refused(_ refusal: ModelRefusal) { refusals.increment(refusal.type) }

    func spent(_ model: String, _ usage: TokenUsage, _ spent: USD) {
        tokens.increment(by: Double(usage.input), model, "input")
        tokens.increment(by: Double(usage.output), model, "output")
        tokens.increment(by: Double(usage.cacheRead), model, "cache_read")
        tokens.increment(by: Double(usage.cacheWrite), model, "cache_write")
        cost.increment(by: spent.dollars, model)
    }
}
