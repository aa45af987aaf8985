import Telemetry
import Testing
import Threads

@Suite struct MetricsTests {
    @Test func `a counter tells its sum for each set of labels`() {
        let metrics = Metrics()
        let counter = metrics.counter("jobs_total", "Jobs that ended.", labels: ["result"])
        counter.increment("ok")
        counter.increment(by: 2, "ok")
        counter.increment(by: -5, "ok")
        counter.increment("failed")
        #expect(
            metrics.exposition() == """
                # HELP jobs_total Jobs that ended.
                # TYPE jobs_total counter
                jobs_total{result="failed"} 1
                jobs_total{result="ok"} 3

                """)
    }

    @Test func `a counter without labels is there before it counts`() {
        let metrics = Metrics()
        _ = metrics.counter("a_total", "A.")
        #expect(metrics.exposition().hasSuffix("a_total 0\n"))
    }

    @Test func `an announced series is there at 0 and keeps what it counted`() {
        let metrics = Metrics()
        let counter = metrics.counter("jobs_total", "Jobs that ended.", labels: ["result"])
        counter.announce("failed")
        #expect(metrics.exposition().contains("jobs_total{result=\"failed\"} 0\n"))
        counter.increment("failed")
        counter.announce("failed")
        #expect(metrics.exposition().contains("jobs_total{result=\"failed\"} 1\n"))
    }

    @Test func `a gauge moves, and a gauge that is asked answers at the scrape`() {
        let metrics = Metrics()
        let gauge = metrics.gauge("open", "Open.")
        gauge.set(5)
        gauge.add(-1.5)
        let value = Lock(1.0)
        metrics.gauge("asked", "Asked.") { value.withLock { $0 } }
        metrics.gauge("silent", "Silent.") { nil }
        metrics.gauges("by_queue", "By queue.", labels: ["queue", "kind"]) { [(["a", "x"], 1), (["b", "y"], 2)] }
        metrics.counter("grown_total", "Grown.") { 4 }
        value.withLock { $0 = 9 }
        let text = metrics.exposition()
        #expect(text.contains("\nopen 3.5\n"))
        #expect(text.contains("\nasked 9\n"))
        #expect(text.contains("\nby_queue{queue=\"b\",kind=\"y\"} 2\n"))
        #expect(text.contains("# TYPE grown_total counter\ngrown_total 4\n"))
        #expect(!text.contains("silent"))
    }

    @Test func `a histogram counts each value below every bound it is under`() {
        let metrics = Metrics()
        let histogram = metrics.histogram("wait_seconds", "Wait.", labels: ["kind"], bounds: [0.1, 1])
        histogram.observe(0.1, "a")
        histogram.observe(.milliseconds(500), "a")
        histogram.observe(3, "a")
        #expect(
            metrics.exposition() == """
                # HELP wait_seconds Wait.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{kind="a",le="0.1"} 1
                wait_seconds_bucket{kind="a",le="1"} 2
                wait_seconds_bucket{kind="a",le="+Inf"} 3
                wait_seconds_sum{kind="a"} 3.6
                wait_seconds_count{kind="a"} 3

                """)
    }

    @Test func `label values are escaped`() {
        let metrics = Metrics()
        metrics.gauge("g", "Line\nbreak \\ \"quote\"", labels: ["l"]).set(1, "a\"b\\c\nd")
        let text = metrics.exposition()
        #expect(text.contains(#"# HELP g Line\nbreak \\ "quote""#))
        #expect(text.contains(#"g{l="a\"b\\c\nd"} 1"#))
    }

    @Test func `the same name gives the same metric`() {
        let metrics = Metrics()
        metrics.counter("c_total", "C.").increment()
        metrics.counter("c_total", "C.").increment()
        #expect(metrics.exposition().contains("c_total 2"))
    }

    @Test func `ever new label values end in one series`() {
        let metrics = Metrics()
        let counter = metrics.counter("c_total", "C.", labels: ["id"])
        for number in 0..<3000 { counter.increment("\(number)") }
        let text = metrics.exposition()
        #expect(text.split(separator: "\n").count <= 1003)
        #expect(text.contains("c_total{id=\"other\"} 2000"))
    }

    @Test func `no count is lost between threads`() throws {
        let metrics = Metrics()
        let threads = try (1...4).map { number in
            try NamedThread("count-\(number)") {
                for _ in 0..<2000 { metrics.counter("c_total", "C.", labels: ["n"]).increment("\(number % 2)") }
            }
        }
        for thread in threads { thread.join() }
        #expect(metrics.exposition().contains("c_total{n=\"1\"} 4000"))
    }

    @Test func `using one name as two kinds of metric stops the process`() async {
        await #expect(processExitsWith: .failure) {
            let metrics = Metrics()
            _ = metrics.counter("x", "X.")
            _ = metrics.gauge("x", "X.")
        }
    }

    @Test func `the process tells its memory and its open files`() throws {
        let metrics = Metrics()
        metrics.addProcess()
        let lines = metrics.exposition().split(separator: "\n").filter { !$0.hasPrefix("#") }
        let values = Dictionary(
            uniqueKeysWithValues: try lines.map { line in
                let parts = line.split(separator: " ")
                return (String(parts[0]), try #require(Double(parts[1])))
            })
        #expect(try #require(values["process_resident_memory_bytes"]) > 1_000_000)
        #expect(try #require(values["process_open_fds"]) >= 3)
        #expect(try #require(values["process_max_fds"]) >= 3)
        #expect(try #require(values["process_cpu_seconds_total"]) > 0)
        #expect(metrics.exposition().contains("# TYPE process_cpu_seconds_total counter\n"))
    }
}

@Suite struct TraceContextTests {
    private static let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @Test func `a header is read and written back`() throws {
        let context = try #require(TraceContext(traceparent: Self.good))
        #expect(context.traceID == "0af7651916cd43dd8448eb211c80319c")
        #expect(context.spanID == "b7ad6b7169203331")
        #expect(context.isSampled)
        #expect(context.traceparent == Self.good)
        #expect(TraceContext(traceparent: Self.good.dropLast() + "0")?.isSampled == false)
    }

    @Test(arguments: [
        "", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
    ])
    func `a malformed header is refused`(header: String) {
        #expect(TraceContext(traceparent: header) == nil)
    }

    @Test func `a later version may carry more`() {
        let header = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"
        #expect(TraceContext(traceparent: header)?.traceparent == Self.good)
    }

    @Test func `a child stays in its trace under a span of its own`() {
        let parent = TraceContext.make()
        let child = parent.child()
        #expect(child.traceID == parent.traceID && child.spanID != parent.spanID)
        #expect(TraceContext(traceparent: child.traceparent) == child)
        #expect(TraceContext.make().traceID != parent.traceID)
    }
}
