import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// A task with everything around it that can hold it up: what `bgagent top` shows.
struct TopRoutes: Sendable {
    let pool: Pool
    let settings: GatewaySettings

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/top",
                summary: "Where a task stands, with its sandbox, its tokens, its notifications and its messages",
                answers: [(200, .top)], refusals: [404], handle: top)
        ]
    }

    @Sendable private func top(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let id = try call.taskID()
        let caller = try call.principal()
        let (standing, vitals) = try pool.withConnection { connection in
            (
                try GrantStore.standing(of: caller.userID, to: id, in: connection),
                try TaskVitals.load(id, in: connection)
            )
        }
        guard let standing, let vitals else { throw APIError.taskNotFound }
        try caller.require(.readTask, .task(standing))
        return .response(Answer.data { $0.vitals(vitals, userSlots: settings.userSlots) })
    }
}

extension JSONWriter {
    mutating func vitals(_ vitals: TaskVitals, userSlots: Int) {
        object { writer in
            writer.name("status")
            writer.status(vitals.task, userSlots: userSlots)
            writer.member("tool_age_s", vitals.toolAgeSeconds)
            writer.member("tokens") { writer in
                writer.member("input", vitals.inputTokens)
                writer.member("output", vitals.outputTokens)
                writer.member("cache_read", vitals.cacheReadTokens)
            }
            writer.member("cost_last_5_min_usd", vitals.recentCost)
            writer.sandbox(vitals.sandbox)
            writer.member("notifications") { writer in
                writer.member("waiting", vitals.notificationsWaiting)
                writer.member("unknown", vitals.notificationsUnknown)
                writer.member("dead", vitals.notificationsDead)
            }
            writer.member("outbox") { writer in
                writer.member("messages", vitals.outboxMessages)
                writer.member("oldest_age_s", Int(vitals.outboxAgeSeconds))
            }
            writer.name("events")
            writer.array { writer in
                for event in vitals.events {
                    writer.object { writer in
                        writer.member("seq", event.seq)
                        writer.member("event_type", event.type)
                        writer.member("age_s", event.ageSeconds)
                        writer.member("metadata", json: event.metadata)
                    }
                }
            }
        }
    }

    private mutating func sandbox(_ sandbox: TaskVitals.Sandbox?) {
        guard let sandbox else { return member("sandbox", json: "null") }
        member("sandbox") { writer in
            writer.member("state", sandbox.state)
            writer.member("backend", sandbox.backend)
            writer.member("node", sandbox.node)
            writer.member("age_s", sandbox.ageSeconds)
            writer.member("lease_left_s", sandbox.leaseLeftSeconds)
            for (name, key) in [
                ("cpu_percent", "cpu_percent"), ("memory_bytes", "memory_bytes"), ("pids", "pids"),
            ] as [(StaticString, String)] {
                writer.member(name, json: sandbox.usage?[key]?.text ?? "null")
            }
        }
    }
}
