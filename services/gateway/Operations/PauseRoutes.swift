import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Stops new work and lets it go on: everywhere, for one repository, or on one compute node. Tasks keep their places and
/// what runs is not touched, so an upgrade waits for `tasks_at_work` to reach zero.
struct PauseRoutes: Sendable {
    let pool: Pool

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/admin/state", summary: "What is paused, and the compute nodes",
                answers: [(200, .platform)], refusals: [403], handle: show),
            Endpoint(
                method: "POST", pattern: "/v1/admin/pause",
                summary: "Start no new work, everywhere or for a repository", answers: [(200, .platform)],
                refusals: [403, 404], body: { _ = Self.pausing(&$0) }, handle: pause),
            Endpoint(
                method: "POST", pattern: "/v1/admin/resume", summary: "Start work again", answers: [(200, .platform)],
                refusals: [403, 404], body: { _ = Self.scope(&$0) }, handle: resume),
            Endpoint(
                method: "POST", pattern: "/v1/admin/nodes/{node}/drain", summary: "Give a compute node no new work",
                answers: [(200, .platform)], refusals: [403, 404], handle: { try drain($0, true) }),
            Endpoint(
                method: "POST", pattern: "/v1/admin/nodes/{node}/resume", summary: "Give a compute node work again",
                answers: [(200, .platform)], refusals: [403, 404], handle: { try drain($0, false) }),
        ]
    }

    private static func scope(_ fields: inout FieldReader) -> String {
        let repo = fields.repo("repo", "one repository; everything without it", isRequired: false)
        return repo.value?.rawValue ?? PauseStore.everywhere
    }

    private static func pausing(_ fields: inout FieldReader) -> (scope: String, reason: String?) {
        (scope(&fields), fields.text("reason", "shown to whoever asks why tasks wait", length: 1...500).value)
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        try call.principal().require(.operate)
        _ = try call.query { _ in }
        return try pool.withConnection { try answer($0) }
    }

    @Sendable private func pause(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.operate)
        _ = try call.query { _ in }
        let asked = try call.fields { Self.pausing(&$0) }
        return try pool.withTransaction { tx in
            try exists(asked.scope, in: tx)
            try PauseStore.pause(asked.scope, reason: asked.reason, by: caller.userID, in: tx)
            try AuditStore.record(
                "pause", on: asked.scope, by: caller.userID, ["reason": asked.reason.map { .string($0) } ?? .null],
                in: tx)
            return try answer(tx)
        }
    }

    /// A place that is not paused is answered like one that was: either way work starts there now.
    @Sendable private func resume(_ call: Call) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.operate)
        _ = try call.query { _ in }
        let scope = try call.fields { Self.scope(&$0) }
        return try pool.withTransaction { tx in
            try exists(scope, in: tx)
            if try PauseStore.resume(scope, in: tx) {
                try AuditStore.record("resume", on: scope, by: caller.userID, in: tx)
            }
            return try answer(tx)
        }
    }

    private func drain(_ call: Call, _ isDraining: Bool) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.operate)
        _ = try call.query { _ in }
        let node = call.path("node")
        return try pool.withTransaction { tx in
            guard try PauseStore.drain(node, isDraining, in: tx) else {
                throw APIError(404, "NODE_NOT_FOUND", "there is no such compute node; GET /v1/admin/state lists them")
            }
            try AuditStore.record(isDraining ? "node.drain" : "node.resume", on: node, by: caller.userID, in: tx)
            return try answer(tx)
        }
    }

    private func exists(_ scope: String, in tx: Connection) throws {
        guard scope != PauseStore.everywhere, let repo = RepoName(rawValue: scope) else { return }
        if try RepoStore.find(repo, in: tx) == nil { throw APIError.repoNotFound }
    }

    private func answer(_ connection: Connection) throws -> Reply {
        let pauses = try PauseStore.list(in: connection)
        let nodes = try PauseStore.nodes(in: connection)
        let atWork = try PauseStore.atWork(in: connection)
        return .response(
            Answer.data { writer in
                writer.object { writer in
                    writer.member("tasks_at_work", atWork)
                    writer.name("pauses")
                    writer.array { writer in for pause in pauses { writer.pause(pause) } }
                    writer.name("nodes")
                    writer.array { writer in for node in nodes { writer.node(node) } }
                }
            })
    }
}

extension JSONWriter {
    fileprivate mutating func pause(_ pause: PauseRecord) {
        object { writer in
            writer.member("scope", pause.scope)
            writer.member("reason", pause.reason)
            writer.member("user_id", pause.userID?.rawValue)
            writer.member("paused_at", pause.pausedAt)
        }
    }

    fileprivate mutating func node(_ node: NodeRecord) {
        object { writer in
            writer.member("node", node.node)
            writer.member("backend", node.backend)
            writer.member("capacity", node.capacity)
            writer.member("running", node.running)
            writer.member("draining", node.isDraining)
            writer.member("last_seen", node.lastSeen)
        }
    }
}
