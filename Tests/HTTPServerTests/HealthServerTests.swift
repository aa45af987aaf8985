import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry
import Testing

@Suite struct HealthServerTests {
    @Test func `health tells what is missing`() async throws {
        let readiness = Readiness()
        let metrics = Metrics()
        metrics.counter("things_total", "Things.").increment()
        let health = try HealthServer(port: 0, readiness: readiness, metrics: metrics, log: .silent)
        let running = Task { try await health.run() }
        try await onThread {
            let wire = try Wire(health.port)
            #expect(try wire.exchange("GET", "/live").status == 200)
            #expect(try wire.exchange("GET", "/ready").status == 200)
            readiness.set("postgres", false)
            let missing = try wire.exchange("GET", "/ready")
            #expect(missing.status == 503)
            #expect(missing.text.contains("postgres"))
            #expect(try wire.exchange("GET", "/metrics").text.contains("things_total 1"))
        }
        running.cancel()
        try await running.value
    }
}
