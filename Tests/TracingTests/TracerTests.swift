import Config
import Domain
import HTTPTypes
import Lifecycle
import Telemetry
import TestSupport
import Testing
import Threads
import Tracing

@Suite(.timeLimit(.minutes(2))) struct TracerTests {
    private static let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    /// Runs a tracer's sender beside `body`, then ends it as SIGTERM would.
    private func withTracer(
        _ receiver: String, headers: Secret? = nil, buffer: Int = 8192, stopPatience: Duration = .seconds(30),
        metrics: Metrics = Metrics(),
        _ body: (Tracer) async throws -> Void
    ) async throws {
        let config = TracingConfig(endpoint: receiver, headers: headers, bufferSize: buffer)
        let tracer = Tracer(
            config, service: "test", caFile: nil, stopPatience: stopPatience, log: .silent, metrics: metrics)
        let service = try #require(tracer.service)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await service.run() }
            try await body(tracer)
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test func `a span arrives whole, with its parent, its length and what is said of the process`() async throws {
        let receiver = try SpanReceiver()
        try await withTracer(receiver.url, headers: "authorization=Bearer%20abc,x-team=a") { tracer in
            let (context, parent) = tracer.enter(Self.caller)
            let span = tracer.begin(
                "outer", as: context, parentID: parent, kind: .server,
                ["http.route": "/x", "count": 3, "flag": true, "cost": .number(0.5), "absent": nil])
            await tracer.span("inner", in: span?.context) {}
            await #expect(throws: NamedThread.NotStarted.self) {
                try await tracer.span("broken", in: span?.context) { throw NamedThread.NotStarted(code: 11) }
            }
            span?.finish(["http.response.status_code": 201])
        }
        let spans = receiver.spans
        #expect(spans.count == 3)
        #expect(spans.allSatisfy { $0.service == "test" })
        let outer = try #require(spans.map { $0.span }.first { $0["name"] == "outer" })
        #expect(outer["traceId"] == "0af7651916cd43dd8448eb211c80319c")
        #expect(outer["parentSpanId"] == "b7ad6b7169203331")
        #expect(outer["kind"] == 2)
        let start = try #require(outer["startTimeUnixNano"]?.string.flatMap { Int64($0) })
        let end = try #require(outer["endTimeUnixNano"]?.string.flatMap { Int64($0) })
        #expect(start > 1_600_000_000_000_000_000 && end >= start)
        let attributes = try #require(outer["attributes"]?.array)
        #expect(attributes.contains(["key": "http.route", "value": ["stringValue": "/x"]]))
        #expect(attributes.contains(["key": "count", "value": ["intValue": "3"]]))
        #expect(attributes.contains(["key": "flag", "value": ["boolValue": true]]))
        #expect(attributes.contains(["key": "cost", "value": ["doubleValue": 0.5]]))
        #expect(attributes.contains(["key": "http.response.status_code", "value": ["intValue": "201"]]))
        #expect(attributes.count == 5)
        let inner = try #require(spans.map { $0.span }.first { $0["name"] == "inner" })
        #expect(inner["parentSpanId"] == outer["spanId"])
        #expect(inner["status"] == nil)
        let broken = try #require(spans.map { $0.span }.first { $0["name"] == "broken" })
        #expect(broken["status"]?["code"] == 2)
        #expect(
            broken["attributes"]?.array == [["key": "error.type", "value": ["stringValue": "NotStarted"]]])
        #expect(receiver.headers["Authorization"] == "Bearer abc")
        #expect(receiver.headers["X-Team"] == "a")
        #expect(receiver.headers["Content-Type"] == "application/json")
    }

    @Test func `what is left at the end of the process is sent at once`() async throws {
        let receiver = try SpanReceiver()
        try await withTracer(receiver.url) { tracer in
            for _ in 0..<600 { tracer.begin("late", in: .make())?.finish() }
        }
        #expect(receiver.spans.count == 600)
        #expect(receiver.spans.allSatisfy { $0.span["name"] == "late" })
    }

    @Test func `a receiver that is away for a while gets its spans, and one that refuses loses that batch alone`()
        async throws
    {
        let receiver = try SpanReceiver()
        let metrics = Metrics()
        receiver.answer(.refuse(503))
        try await withTracer(receiver.url, metrics: metrics) { tracer in
            tracer.begin("first", in: .make())?.finish()
            try await eventually("it was asked once") { receiver.requests > 0 }
            receiver.answer(.take)
            try await eventually("the span is there") { receiver.spans.count == 1 }
            receiver.answer(.refuse(400))
            tracer.begin("second", in: .make())?.finish()
            try await eventually("the loss is counted") {
                metrics.exposition().contains(#"bgagent_spans_total{result="lost"} 1"#)
            }
            receiver.answer(.take)
            tracer.begin("third", in: .make())?.finish()
        }
        #expect(receiver.spans.map { $0.span["name"] } == ["first", "third"])
        #expect(metrics.exposition().contains(#"bgagent_spans_total{result="sent"} 2"#))
    }

    @Test(arguments: [true, false])
    func `a receiver that hangs or is not there holds nobody up`(hangs: Bool) async throws {
        let receiver = try SpanReceiver()
        receiver.answer(.hang)
        let metrics = Metrics()
        let url = hangs ? receiver.url : "http://127.0.0.1:1"
        var ended = MonotonicTime.now
        // Waiting for the receiver would take hours here, and a minute at the end.
        try await withTracer(url, buffer: 100, stopPatience: .seconds(1), metrics: metrics) { tracer in
            let began = MonotonicTime.now
            for _ in 0..<20_000 { tracer.begin("x", in: .make())?.finish() }
            #expect(began.elapsed < .seconds(30))
            #expect(metrics.exposition().contains(#"bgagent_spans_total{result="dropped"} "#))
            #expect(!metrics.exposition().contains(#"bgagent_spans_total{result="dropped"} 0"#))
            ended = .now
        }
        #expect(ended.elapsed < .seconds(20))
        #expect(receiver.spans.isEmpty)
    }

    @Test func `without an endpoint nothing is made, not even the attributes`() {
        func never() -> SpanAttributes {
            Issue.record("attributes of a span that is not made")
            return [:]
        }
        let tracer = Tracer(TracingConfig(), service: "test", caFile: nil, log: .silent)
        #expect(!tracer.isOn && tracer.service?.name == nil)
        #expect(tracer.begin("x", in: .make(), never())?.context == nil)
        tracer.record(Span("x", .make(), parent: nil, from: .now, to: .now, never()))
    }

    @Test func `the ratio decides for traces that begin here, a caller for those that do not`() async throws {
        func tracer(_ ratio: Double) -> Tracer {
            Tracer(TracingConfig(endpoint: "http://127.0.0.1:1", ratio: ratio), service: "t", caFile: nil, log: .silent)
        }
        #expect(!tracer(0).enter(nil).context.isSampled)
        #expect(tracer(1).enter(nil).context.isSampled)
        let quarter = tracer(0.25)
        let count = (0..<4000).filter { _ in quarter.enter(nil).context.isSampled }.count
        #expect((800...1200).contains(count))
        let (context, parent) = tracer(0).enter(Self.caller)
        #expect(context.isSampled && parent == "b7ad6b7169203331")
        #expect(context.traceID == "0af7651916cd43dd8448eb211c80319c" && context.spanID != parent)
        let unwanted = tracer(1).enter(String(Self.caller.dropLast() + "0"))
        #expect(!unwanted.context.isSampled)
        #expect(tracer(1).begin("x", in: unwanted.context)?.context == nil)
        #expect(tracer(1).enter("nonsense").parentID == nil)
    }

    @Test func `the parts of a task have the same ids in every process`() throws {
        let trace = try #require(TaskTrace(Self.caller))
        let again = try #require(TaskTrace(Self.caller))
        #expect(trace.task == again.task)
        #expect(trace.session(2) == again.session(2))
        let ids = [trace.task, trace.session(1), trace.session(2), trace.decision("a"), trace.decision("b")]
        #expect(Set(ids.map(\.spanID)).count == ids.count)
        #expect(
            ids.allSatisfy { $0.traceID == trace.request.traceID && TraceContext(traceparent: $0.traceparent) == $0 })
        #expect(TaskTrace(String(Self.caller.dropLast() + "0")) == nil)
        #expect(TaskTrace("") == nil)
    }
}
