import Domain
import HTTPTypes
import Store

/// A page of a task's timeline.
struct EventPage: Sendable {
    let source: EventSource
    let events: [EventRecord]
    let hasMore: Bool

    /// - Parameter isDescending: such a page has no next one.
    func response(isDescending: Bool) -> Response {
        Answer.page(next: hasMore && !isDescending ? events.last?.id.rawValue : nil, hasMore: hasMore) { writer in
            for event in events { writer.event(event, of: source) }
        }
    }
}

extension JSONWriter {
    mutating func event(_ event: EventRecord, of source: EventSource) {
        object { writer in
            writer.member("event_id", event.id.rawValue)
            writer.member("task_id", source.taskID.rawValue)
            writer.member("seq", event.seq)
            writer.member("event_type", event.type)
            writer.member("timestamp", event.timestamp)
            writer.member("attempt", event.attempt)
            writer.member("metadata", json: event.metadata)
            writer.member("user_id", source.userID.rawValue)
            writer.member("repo", source.repo)
            writer.member("trace_id", source.traceID)
        }
    }
}
