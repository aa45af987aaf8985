import Config
import Glibc
import Lifecycle
import Telemetry
import Threads

/// Takes spans and has them sent. Takes them in microseconds and never waits: what does not fit is dropped and counted.
///
/// Without an endpoint nothing is made, timed or kept. A crash loses what this process had not yet sent.
package final class Tracer: Sendable {
    /// Makes nothing.
    package static let off = Tracer()

    private let exporter: SpanExporter?
    private let ratio: Double

    private init() {
        exporter = nil
        ratio = 1
    }

    /// - Parameters:
    ///   - service: `service.name` of this process's spans.
    ///   - stopPatience: what a stop waits for; the services before it have up to eight seconds of the ten.
    package init(
        _ config: TracingConfig, service: String, caFile: String?, stopPatience: Duration = .seconds(1), log: Logger,
        metrics: Metrics = .process
    ) {
        ratio = config.ratio
        exporter = config.endpoint.map {
            SpanExporter(
                config, endpoint: $0, service: service, caFile: caFile, stopPatience: stopPatience, log: log,
                metrics: metrics)
        }
    }

    /// What sends; nil when tracing is off. List it before everything that makes spans.
    package var service: (any Service)? { exporter }

    package var isOn: Bool { exporter != nil }

    /// The request's place in a trace: a part of its caller's, or the first of a new one, recorded or not by the ratio.
    package func enter(_ traceparent: String?) -> (context: TraceContext, parentID: String?) {
        if let caller = traceparent.flatMap(TraceContext.init(traceparent:)) { return (caller.child(), caller.spanID) }
        return (.make(ratio: ratio), nil)
    }

    /// Takes a span that is over.
    package func record(_ span: @autoclosure () -> Span) {
        guard let exporter else { return }
        let span = span()
        if span.context.isSampled { exporter.offer(span) }
    }

    /// Begins a part of `parent` now. Nil when tracing is off or the trace is not recorded.
    package func begin(
        _ name: @autoclosure () -> String, in parent: TraceContext?, kind: Span.Kind = .internal,
        _ attributes: @autoclosure () -> SpanAttributes = [:]
    ) -> LiveSpan? {
        guard exporter != nil, let parent, parent.isSampled else { return nil }
        return begin(name(), as: parent.child(), parentID: parent.spanID, kind: kind, attributes())
    }

    /// Begins a span whose id is known already. Nil when tracing is off or the trace is not recorded.
    package func begin(
        _ name: @autoclosure () -> String, as context: TraceContext, parentID: String?, kind: Span.Kind = .internal,
        _ attributes: @autoclosure () -> SpanAttributes = [:]
    ) -> LiveSpan? {
        guard exporter != nil, context.isSampled else { return nil }
        let now = SpanTime.now
        return LiveSpan(
            tracer: self, started: .now,
            span: Span(name(), context, parent: parentID, kind: kind, from: now, to: now, attributes()))
    }

    /// Runs `body` as a part of `parent`; an error that it throws is the span's by the name of its type.
    package func span<Result>(
        _ name: String, in parent: TraceContext?, kind: Span.Kind = .internal,
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async rethrows -> Result {
        let live = begin(name, in: parent, kind: kind)
        do {
            let result = try await body()
            live?.finish()
            return result
        } catch {
            live?.finish(failed: error)
            throw error
        }
    }
}

/// A span that is under way. Not told at all when nobody finishes it.
package struct LiveSpan: Sendable {
    fileprivate let tracer: Tracer
    fileprivate let started: MonotonicTime
    fileprivate let span: Span

    /// What its own parts are parts of.
    package var context: TraceContext { span.context }

    /// Ends it now. The length is taken from the monotonic clock.
    package func finish(_ attributes: SpanAttributes = [:], errorType: String? = nil) {
        var span = self.span
        span.end = SpanTime(nanoseconds: span.start.nanoseconds + started.elapsed.wholeNanoseconds)
        span.errorType = errorType
        span.add(attributes)
        let ended = span
        tracer.record(ended)
    }

    /// Ends it with an error, told by the name of its type.
    package func finish(failed error: any Error) {
        finish(errorType: String(describing: type(of: error)))
    }
}

extension SpanTime {
    package static var now: SpanTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return SpanTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }
}
