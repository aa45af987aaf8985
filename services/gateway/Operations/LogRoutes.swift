import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// The log of a task: what the services wrote about it and what its sandboxes said. Whoever may read its events may read
/// it, nobody else; lines were redacted before they were stored.
struct LogRoutes: Sendable {
    let pool: Pool
    let watch: LogWatch
    let settings: GatewaySettings

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/logs",
                summary: "The task's log in order; with wait, as soon as there is a new line",
                answers: [(200, .logPage)], refusals: [404],
                query: { [settings] in _ = Self.wish(&$0, settings) }, handle: logs)
        ]
    }

    @Sendable private func logs(_ call: Call) throws -> Reply {
        let (filter, wait) = try call.query { Self.wish(&$0, settings) }
        let id = try call.taskID()
        let caller = try call.principal()
        let (standing, status, page) = try pool.withConnection { connection in
            (
                try GrantStore.standing(of: caller.userID, to: id, in: connection),
                try TaskLogStore.status(of: id, in: connection), try TaskLogStore.page(of: id, filter, in: connection)
            )
        }
        guard let standing, let status else { throw APIError.taskNotFound }
        try caller.require(.readTask, .task(standing))
        guard page.lines.isEmpty, wait > 0, !status.isFinal else {
            return .response(Self.answer(page.lines, hasMore: page.hasMore))
        }
        let watch = self.watch
        let asker = try Asker(call)
        return .later(timeout: .seconds(wait)) { responder in
            watch.wait(for: id, filter, asker, behind: page.head, responder)
        }
    }

    static func answer(_ lines: [TaskLogRecord], hasMore: Bool) -> Response {
        Answer.page(next: hasMore ? lines.last.map { "\($0.seq)" } : nil, hasMore: hasMore) { writer in
            for line in lines { writer.logLine(line) }
        }
    }

    private static func wish(
        _ query: inout QueryReader, _ settings: GatewaySettings
    ) -> (filter: TaskLogFilter, wait: Int) {
        var filter = TaskLogFilter()
        let after = query.integer("after", default: 0, in: 0...Int.max, "only lines behind this seq")
        let next = query.value(
            "next_token", ["type": "string"], "the same as after, as the page before gave it",
            "is no token of an earlier page"
        ) { Int64($0).flatMap { $0 >= 0 ? $0 : nil } }
        filter.after = next ?? Int64(after)
        filter.limit = query.integer("limit", default: 200, in: 1...500, "lines of a page")
        filter.service = query.value(
            "service", ["type": "string"], "only lines of this service; agent is the sandbox",
            "must be a service's name"
        ) { $0.isEmpty || $0.utf8.count > 64 || $0.contains("\0") ? nil : $0 }
        filter.level = query.value(
            "level", ["type": "string", "enum": .array(TaskLogLine.levels.map { .string($0) })],
            "only lines of this level and above", "must be one of \(TaskLogLine.levels.joined(separator: ", "))"
        ) { TaskLogLine.levels.contains($0) ? $0 : nil }
        let wait = query.integer(
            "wait", default: 0, in: 0...settings.maxWaitSeconds, "seconds to wait for a line when there is none yet")
        return (filter, wait)
    }
}

extension JSONWriter {
    mutating func logLine(_ line: TaskLogRecord) {
        object { writer in
            writer.member("seq", line.seq)
            writer.member("at", line.at)
            writer.member("service", line.service)
            writer.member("instance", line.instance)
            writer.member("attempt", line.attempt)
            writer.member("level", line.level)
            writer.member("message", line.message)
            writer.member("fields", json: line.fields)
        }
    }
}
