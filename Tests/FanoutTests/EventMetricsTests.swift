import Domain
import Notifications
import Telemetry
import Testing

@testable import Fanout

@Suite struct EventMetricsTests {
    @Test func `an end is counted by state, outcome and code`() {
        let metrics = Metrics()
        let counts = EventMetrics(metrics)
        #expect(metrics.exposition().contains("bgagent_events_total{type=\"task_failed\"} 0\n"))
        counts.took(Self.event("agent_turn"), told: [])
        counts.took(
            Self.event(
                "task_failed",
                ["status": "FAILED", "outcome": "max_turns", "error": ["code": "max_turns", "category": "agent"]]),
            told: [])
        let text = metrics.exposition()
        #expect(text.contains("bgagent_events_total{type=\"agent_turn\"} 1\n"))
        #expect(text.contains("bgagent_events_total{type=\"task_failed\"} 1\n"))
        #expect(
            text.contains(
                "bgagent_tasks_ended_total{status=\"FAILED\",outcome=\"max_turns\",code=\"max_turns\"} 1\n"))
    }

    @Test func `what is none of our words becomes other`() {
        let metrics = Metrics()
        let counts = EventMetrics(metrics)
        counts.took(Self.event("made_up"), told: [])
        counts.took(Self.event("task_failed", ["status": "FAILED", "error": ["code": "a b\u{7}"]]), told: [])
        let text = metrics.exposition()
        #expect(text.contains("bgagent_events_total{type=\"other\"} 1\n"))
        #expect(text.contains("{status=\"FAILED\",outcome=\"\",code=\"other\"} 1\n"))
        #expect(EventMetrics.word(String(repeating: "a", count: 41)) == "other")
    }

    private static func event(_ type: String, _ metadata: JSONValue = [:]) -> TaskNotification.Event {
        TaskNotification.Event(
            id: "01JZ0000000000000000000003", seq: 1, type: type, timestamp: "", attempt: 1, metadata: metadata)
    }
}
