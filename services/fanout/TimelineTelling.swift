import Domain
import Notifications
import Postgres
import Store
import Telemetry
import Tracing

/// Tells a task's trace what fanout knows of it: each decision, and at the task's end its long spans.
///
/// Every ending, whoever decided it, comes through here as an event, once. So the spans that last as long as processes
/// do not are told in one place, from what was stored. Failing to tell them changes nothing else.
struct TimelineTelling: Sendable {
    static let off = TimelineTelling(tracer: .off, pool: nil, log: .silent)

    let tracer: Tracer
    let pool: Pool?
    let log: Logger

    /// Nil when nothing is to be told.
    func trace(_ traceparent: String) -> TaskTrace? {
        tracer.isOn ? TaskTrace(traceparent) : nil
    }

    /// An event about which somebody will hear: the sends are parts of this span.
    func tell(
        _ channels: [String], of event: TaskNotification.Event, _ task: TaskID, in trace: TaskTrace,
        from began: SpanTime
    ) {
        tracer.record(
            Span(
                "process \(event.type)", trace.decision(event.id), parent: trace.task.spanID, kind: .consumer,
                from: began, to: .now,
                [
                    "messaging.system": "rabbitmq", "messaging.destination.name": "task.events",
                    "messaging.operation.type": "process", "messaging.message.id": .text(event.id),
                    "bgagent.task.id": .text(task.rawValue), "bgagent.event.type": .text(event.type),
                    "bgagent.notifications": SpanValue(channels.count),
                ]))
    }

    /// A task that has ended.
    func tell(_ task: TaskID) async {
        guard let pool else { return }
        do {
            guard let timeline = try await pool.run({ try TraceStore.timeline(task, in: $0) }) else { return }
            for span in TimelineSpans.of(timeline) { tracer.record(span) }
        } catch {
            log.warning("a task's spans are lost", ["error": "\(error)"])
        }
    }
}
