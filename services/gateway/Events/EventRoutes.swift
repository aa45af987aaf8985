import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// A task's timeline: in pages, and, with `wait`, as it grows.
struct EventRoutes: Sendable {
    let pool: Pool
    let watch: EventWatch
    let settings: GatewaySettings

    /// What a request asks for.
    struct Wish: Sendable {
        var filter = EventFilter()
        var wait = 0
    }

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/events",
                summary: "The task's events in order; with wait, as soon as there is a new one",
                answers: [(200, .eventPage)], refusals: [404],
                query: { [settings] in _ = Self.wish(&$0, settings) }, handle: events)
        ]
    }

    @Sendable private func events(_ call: Call) throws -> Reply {
        let wish = try call.query { Self.wish(&$0, settings) }
        let id = try call.taskID()
        let caller = try call.principal()
        // Registered before the read: what is appended in between is heard of.
        let watcher = wish.wait > 0 ? watch.register(id, wish.filter) : nil
        var isHandedOver = false
        defer { if let watcher, !isHandedOver { watch.remove(watcher) } }
        let page = try pool.withConnection { try EventQueries.page(of: id, for: caller.userID, wish.filter, in: $0) }
        guard let page else { throw APIError.taskNotFound }
        try caller.require(.readTask, .task(page.source.standing))
        guard let watcher, page.events.isEmpty, !page.source.status.isFinal else {
            let whole = EventPage(source: page.source, events: page.events, hasMore: page.hasMore)
            return .response(whole.response(isDescending: wish.filter.isDescending))
        }
        isHandedOver = true
        let asker = try Asker(call)
        return .later(timeout: .seconds(wish.wait)) { responder in
            watch.wait(watcher, from: page.source, for: asker, responder)
        }
    }

    private static func wish(_ query: inout QueryReader, _ settings: GatewaySettings) -> Wish {
        var wish = Wish()
        let after = query.value(
            "after", ["type": "string"], "only events behind this event_id", "must be an event_id"
        ) { EventID(rawValue: $0) }
        let next = query.value(
            "next_token", ["type": "string"], "the same as after, as the page before gave it",
            "is no token of an earlier page"
        ) { EventID(rawValue: $0) }
        wish.filter.after = after ?? next
        wish.filter.limit = query.integer("limit", default: 50, in: 1...100, "entries of a page")
        wish.filter.type = query.value(
            "type", ["type": "string", "enum": .array(TaskEventType.allCases.map { .string($0.rawValue) })],
            "only events of this type", "must be the type of an event"
        ) { TaskEventType(rawValue: $0) }
        wish.filter.isDescending = query.flag("desc", "newest first; without after and wait")
        wish.wait = query.integer(
            "wait", default: 0, in: 0...settings.maxWaitSeconds,
            "seconds to wait for an event when there is none yet")
        if wish.filter.isDescending, wish.filter.after != nil || wish.wait > 0 {
            query.reject("desc goes with neither after nor wait")
        }
        return wish
    }
}
