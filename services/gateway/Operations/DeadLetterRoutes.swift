import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What was given up and waits for an administrator: look at it, have it done once more, or drop it. Each of these can be
/// tried without doing it.
struct DeadLetterRoutes: Sendable {
    let pool: Pool

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/dead-letters", summary: "List open dead letters, oldest first",
                answers: [(200, .deadLetterPage)], refusals: [403], query: { _ = Self.paging(&$0) }, handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/dead-letters/{dead_letter_id}", summary: "One dead letter with its body",
                answers: [(200, .deadLetter)], refusals: [403, 404], handle: show),
            Endpoint(
                method: "POST", pattern: "/v1/dead-letters/{dead_letter_id}/replay",
                summary: "Handle or send it once more", answers: [(200, .settledLetter)], refusals: [403, 404, 409],
                body: { _ = Self.isDry(&$0) }, handle: { try settle($0, .replay) }),
            Endpoint(
                method: "POST", pattern: "/v1/dead-letters/{dead_letter_id}/drop", summary: "Give it up for good",
                answers: [(200, .settledLetter)], refusals: [403, 404, 409], body: { _ = Self.isDry(&$0) },
                handle: { try settle($0, .drop) }),
        ]
    }

    private enum Action: String {
        case replay, drop
    }

    private static func isDry(_ fields: inout FieldReader) -> Bool {
        fields.boolean("dry_run", "only say what would happen").value ?? false
    }

    private static func paging(_ query: inout QueryReader) -> (
        task: String?, after: (at: Timestamp, id: String)?, limit: Int
    ) {
        let after = query.cursor("where the page before ended") { token -> (at: Timestamp, id: String)? in
            guard token.keys.count == 2, let at = Timestamp(iso8601: token.keys[0]) else { return nil }
            return (at, token.keys[1])
        }
        let task = query.value("task_id", ["type": "string"], "only those of a task", "is no task id") {
            TaskID(rawValue: $0)?.rawValue
        }
        return (task, after, query.integer("limit", default: 100, in: 1...100, "entries of a page"))
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        try call.principal().require(.operate)
        let asked = try call.query { Self.paging(&$0) }
        let letters = try pool.withConnection {
            try DeadLetterStore.list(
                task: asked.task, after: asked.after, limit: asked.limit + 1, in: $0)
        }
        let page = letters.prefix(asked.limit)
        let hasMore = letters.count > asked.limit
        let next = hasMore ? page.last.map { PageToken(keys: [$0.createdAt.iso8601, $0.id]).text } : nil
        return .response(
            Answer.page(next: next, hasMore: hasMore) { writer in
                for letter in page { writer.letter(letter, hasBody: false) }
            })
    }

    @Sendable private func show(_ call: Call) throws -> Reply {
        try call.principal().require(.operate)
        _ = try call.query { _ in }
        guard let letter = try pool.withConnection({ try DeadLetterStore.find(id(call), in: $0) }) else {
            throw APIError.letterNotFound
        }
        return .response(Answer.data { $0.letter(letter, hasBody: true) })
    }

    private func settle(_ call: Call, _ action: Action) throws -> Reply {
        let caller = try call.principal()
        try caller.require(.operate)
        _ = try call.query { _ in }
        let isDry = try call.fields { Self.isDry(&$0) }
        let id = try self.id(call)
        let effect = try pool.withTransaction { tx in
            guard let letter = try DeadLetterStore.find(id, lock: true, in: tx) else { throw APIError.letterNotFound }
            if action == .replay, let obstacle = letter.obstacle {
                throw APIError.conflict("NOT_REPLAYABLE", "\(obstacle); drop it when it is of no use")
            }
            if isDry { return Self.effect(of: action, on: letter) }
            switch action {
            case .replay: try DeadLetterStore.replay(letter, in: tx)
            case .drop: try DeadLetterStore.drop(letter, in: tx)
            }
            try AuditStore.record(
                "dead_letter.\(action)", on: id, by: caller.userID,
                ["kind": .string(letter.kind.rawValue), "source": .string(letter.source)], in: tx)
            return Self.effect(of: action, on: letter)
        }
        return .response(
            Answer.data { writer in
                writer.object { writer in
                    writer.member("dead_letter_id", id)
                    writer.member("action", action.rawValue)
                    writer.member("dry_run", isDry)
                    writer.member("effect", effect)
                }
            })
    }

    private static func effect(of action: Action, on letter: DeadLetterRecord) -> String {
        switch (action, letter.kind) {
        case (.replay, .message): "\(letter.source) handles message \(letter.seq ?? 0) of the task once more"
        case (.replay, .notification): "\(letter.source) sends it to \(letter.place) once more"
        case (.drop, .message): "\(letter.source) never handles it"
        case (.drop, .notification): "it is never sent to \(letter.place)"
        }
    }

    /// What has no form of an id is no dead letter; a text of the database holds no zero byte.
    private func id(_ call: Call) throws -> String {
        let id = call.path("dead_letter_id")
        let isPlain = id.utf8.allSatisfy { ($0 | 0x20) >= 0x61 || (0x30...0x39).contains($0) }
        guard !id.isEmpty, id.utf8.count <= 64, isPlain else { throw APIError.letterNotFound }
        return id
    }
}

extension APIError {
    static let letterNotFound = APIError(404, "DEAD_LETTER_NOT_FOUND", "there is no such open dead letter")
}

extension JSONWriter {
    fileprivate mutating func letter(_ letter: DeadLetterRecord, hasBody: Bool) {
        object { writer in
            writer.member("dead_letter_id", letter.id)
            writer.member("kind", letter.kind.rawValue)
            writer.member("source", letter.source)
            writer.member("task_id", letter.taskID)
            writer.member("seq", letter.seq)
            writer.member("reason", letter.reason)
            writer.member("place", letter.place)
            writer.member("replayable", letter.obstacle == nil)
            writer.member("obstacle", letter.obstacle)
            writer.member("created_at", letter.createdAt)
            if hasBody { writer.member("body", letter.body) }
        }
    }
}
