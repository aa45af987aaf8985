import Config
import Domain
import Glibc
import HTTPClient
import HTTPTypes
import Lifecycle
import Telemetry
import Threads

/// Sends spans to an OTLP receiver over HTTP, in batches, from a thread of its own.
///
/// The receiver may be away, slow or broken: the buffer fills up, further spans are dropped and counted, and nobody
/// waits. At the end of the process what is left is sent within a second, or lost.
final class SpanExporter: Service {
    let name = "tracing"

    private struct State {
        var spans: [Span] = []
        var stopBy: Deadline?
        var hasEnded = false
    }

    private enum Verdict {
        case taken
        /// Never to be sent again.
        case refused(String)
        /// May pass later.
        case later(String)
    }

    private static let batch = 512
    /// A batch that is not full waits so long for company.
    private static let interval = Duration.seconds(1)
    private static let attempts = 5

    private let url: String
    private let headers: Headers
    private let service: String
    private let resource: [(String, SpanValue)]
    private let capacity: Int
    private let stopPatience: Duration
    private let client: HTTPClient
    private let log: Logger
    private let counted: Counter
    private let state = Condition(State())

    init(
        _ config: TracingConfig, endpoint: String, service: String, caFile: String?, stopPatience: Duration,
        log: Logger,
        metrics: Metrics
    ) {
        let base = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
        url = base.hasSuffix("/v1/traces") ? base : base + "/v1/traces"
        var fields = Self.fields(config.headers?.revealed ?? "")
        fields.append(("Content-Type", "application/json"))
        headers = fields
        self.service = service
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, host.count - 1)
        let hostName = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        resource = [
            ("service.instance.id", .text("\(hostName)-\(getpid())")), ("host.name", .text(hostName)),
            ("telemetry.sdk.language", "swift"),
        ]
        capacity = config.bufferSize
        self.stopPatience = stopPatience
        client = HTTPClient(.init(name: "tracing", threads: 1, caFile: caFile))
        self.log = log
        counted = metrics.counter("bgagent_spans_total", "Spans by what became of them", labels: ["result"])
        for result in ["sent", "dropped", "lost"] { counted.announce(result) }
    }

    /// Takes a span, or drops it when the buffer is full.
    func offer(_ span: Span) {
        let isTaken = state.withLock { state in
            guard !state.hasEnded, state.spans.count < capacity else { return false }
            state.spans.append(span)
            if state.spans.count == Self.batch { self.state.broadcast() }
            return true
        }
        if !isTaken { counted.increment("dropped") }
    }

    func run() async throws {
        let thread = try NamedThread("tracing") { self.work() }
        await untilCancelled()
        state.update { $0.stopBy = .after(stopPatience) }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let waiting = try? NamedThread("tracing-stop") {
                _ = self.state.wait(timeout: self.stopPatience + .milliseconds(100)) { $0.hasEnded ? true : nil }
                continuation.resume()
            }
            if waiting == nil { continuation.resume() }
        }
        withExtendedLifetime(thread) {}
    }

    private func work() {
        while true {
            let (spans, stopBy) = next()
            if spans.isEmpty {
                if stopBy != nil { break }
                continue
            }
            send(spans)
        }
        let left = state.update { state -> Int in
            state.hasEnded = true
            return state.spans.count
        }
        if left > 0 { lose(left, "the process ended") }
    }

    /// What waits, up to a batch; as soon as there is a whole one, the interval is over, or the process ends.
    private func next() -> ([Span], Deadline?) {
        _ = state.wait(timeout: Self.interval) { state -> Bool? in
            state.spans.count >= Self.batch || state.stopBy != nil ? true : nil
        }
        return state.withLock { state in
            if state.stopBy?.isOver == true { return ([], state.stopBy) }
            let taken = Array(state.spans.prefix(Self.batch))
            state.spans.removeFirst(taken.count)
            return (taken, state.stopBy)
        }
    }

    private func send(_ spans: [Span]) {
        let body = Array(OTLP.request(spans, service: service, resource: resource).text.utf8)
        var failures = 0
        while true {
            let stopBy = state.withLock { $0.stopBy }
            switch post(body, within: min(.seconds(5), stopBy?.remaining ?? .seconds(5))) {
            case .taken:
                if failures > 0 { log.info("spans are taken again") }
                return counted.increment(by: Double(spans.count), "sent")
            case .refused(let reason):
                return lose(spans.count, reason)
            case .later(let reason):
                failures += 1
                if failures == 1 { log.warning("spans wait", ["reason": reason]) }
                guard failures < Self.attempts, stopBy == nil else { return lose(spans.count, reason) }
                let pause = Backoff(initial: .milliseconds(500), cap: .seconds(8)).delay(afterFailures: failures)
                _ = state.wait(timeout: pause) { $0.stopBy != nil ? true : nil }
            }
        }
    }

    private func post(_ body: [UInt8], within time: Duration) -> Verdict {
        var request = ClientRequest(
            method: "POST", url: url, headers: headers, body: body, timeout: max(time, .milliseconds(50)),
            connectTimeout: .seconds(2), maxResponseBytes: 1 << 20)
        // The same batch twice is the same spans: receivers know them by their ids.
        request.mayRepeat = true
        do {
            let response = try client.sendBlocking(request)
            switch response.status {
            case 200..<300: return .taken
            case 429, 502, 503, 504: return .later("status \(response.status)")
            default: return .refused("status \(response.status)")
            }
        } catch let error as HTTPClientError where error.isRetryable {
            return .later("\(error)")
        } catch {
            return .refused("\(error)")
        }
    }

    private func lose(_ count: Int, _ reason: String) {
        counted.increment(by: Double(count), "lost")
        log.warning("spans are lost", ["count": count, "reason": reason])
    }

    private static func fields(_ text: String) -> Headers {
        var headers = Headers()
        for part in text.split(separator: ",") {
            guard let sign = part.firstIndex(of: "=") else { continue }
            let name = part[..<sign].filter { $0 != " " }
            let value = part[part.index(after: sign)...].drop { $0 == " " }
            headers.append((String(name), Percent.decode(value) ?? String(value)))
        }
        return headers
    }
}
