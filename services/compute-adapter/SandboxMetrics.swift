import Telemetry

/// What operators see of a node's sandboxes.
struct SandboxMetrics: Sendable {
    private let running: Gauge
    private let starts: Counter
    private let lost: Counter
    private let killed: Counter

    init(capacity: Int, _ metrics: Metrics) {
        running = metrics.gauge("bgagent_sandboxes", "Sandboxes that run on this node.")
        metrics.gauge("bgagent_sandbox_places", "Sandboxes that may run on this node at once.").set(Double(capacity))
        starts = metrics.counter("bgagent_sandbox_starts_total", "Starts of sandboxes.", labels: ["result"])
        for result in ["started", "failed"] { starts.announce(result) }
        lost = metrics.counter("bgagent_sandboxes_lost_total", "Sandboxes that ended without a result.")
        killed = metrics.counter(
            "bgagent_sandboxes_killed_total", "Sandboxes that did not end in time when they were asked to.")
    }

    func runs(_ count: Int) { running.set(Double(count)) }
    func started() { starts.increment("started") }
    func failed() { starts.increment("failed") }
    func wasLost() { lost.increment() }
    func wasKilled() { killed.increment() }
}
