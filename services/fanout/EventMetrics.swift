import Domain
import Notifications
import Telemetry

/// Counts the facts of all tasks. Every event passes fanout once, whoever wrote it, so this is the one place that sees
/// how tasks end.
struct EventMetrics: Sendable {
    private let events: Counter
    private let ended: Counter
    private let planned: Counter

    init(_ metrics: Metrics) {
        events = metrics.counter("bgagent_events_total", "Events of tasks.", labels: ["type"])
        for type in TaskEventType.allCases { events.announce(type.rawValue) }
        ended = metrics.counter(
            "bgagent_tasks_ended_total", "Tasks that ended, by state, outcome and the code of the error.",
            labels: ["status", "outcome", "code"])
        ended.announce(TaskStatus.completed.rawValue, "pull_request", "")
        planned = metrics.counter("bgagent_notifications_planned_total", "Notifications planned", labels: ["channel"])
    }

    /// Called once the event's step is committed.
    func took(_ event: TaskNotification.Event, told: [Route]) {
        let type = TaskEventType(rawValue: event.type)
        events.increment(type?.rawValue ?? "other")
        if let type, TaskEventType.finals.contains(type) {
            ended.increment(
                Self.word(event.metadata["status"]?.string), Self.word(event.metadata["outcome"]?.string),
                Self.word(event.metadata["error"]?["code"]?.string))
        }
        for one in told { planned.increment(by: 1, one.channel) }
    }

    /// A label's value: only what looks like one of our words, because part of it comes from agents.
    static func word(_ text: String?) -> String {
        guard let text else { return "" }
        let isWord = text.utf8.count <= 40 && text.utf8.allSatisfy { $0 == UInt8(ascii: "_") || $0.isLetterOrDigit }
        return isWord ? text : "other"
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
