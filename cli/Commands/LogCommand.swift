import Domain

/// `bgagent logs`: the log of a task, in order, to its end or as it grows.
package enum LogCommand {
    private static let pageSize = 500
    private static let longPoll = 25
    /// What a sandbox said last comes with the next pass of its adapter.
    private static let afterglow: Duration = .seconds(6)

    @Sendable package static func logs(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let task = try TaskCommands.taskID(invocation)
        let follows = invocation.has("follow")
        let console = surroundings.console
        let client = try surroundings.client(
            for: invocation, patience: follows ? APIClient.longPatience : APIClient.briefPatience)
        if follows { console.onInterrupt(["The task goes on."]) }
        var reader = Reader(task, invocation, client)
        var kept: [JSONValue] = []
        var count = 0
        var isEnding = false
        while true {
            let (lines, hasMore) = try await reader.page(wait: follows && !isEnding ? longPoll : 0)
            count += lines.count
            for line in lines {
                if !invocation.wantsJSON {
                    console.print(LogLine(line).rendered(style: console.style))
                } else if follows {
                    console.print(line.encoded())
                } else {
                    kept.append(line)
                }
            }
            if hasMore { continue }
            guard follows else { break }
            if !lines.isEmpty {
                isEnding = false
                continue
            }
            if isEnding { break }
            if try await hasEnded(task, client) {
                isEnding = true
                try await surroundings.pace.pause(afterglow)
            } else {
                // A gateway that holds no long poll is not asked without a pause.
                try await surroundings.pace.pause(.milliseconds(500))
            }
        }
        if invocation.wantsJSON, !follows { console.print(JSONValue.array(kept).encoded(pretty: true)) }
        if count == 0, !invocation.wantsJSON { console.note("No lines.") }
        return .success
    }

    private static func hasEnded(_ task: TaskID, _ client: APIClient) async throws -> Bool {
        let state = try await client.call("GET", "/tasks/\(task)/status").data.text("status") ?? ""
        return TaskStatus(rawValue: state)?.isFinal ?? false
    }

    /// Pages behind a cursor, so that no line is skipped and none shown twice.
    private struct Reader {
        let task: TaskID
        let client: APIClient
        let filters: [(String, String)]
        var cursor: Int

        init(_ task: TaskID, _ invocation: Invocation, _ client: APIClient) {
            self.task = task
            self.client = client
            filters = ["service", "level"].compactMap { name in invocation.text(name).map { (name, $0) } }
            cursor = invocation.whole("after") ?? 0
        }

        mutating func page(wait: Int) async throws -> (lines: [JSONValue], hasMore: Bool) {
            var query = filters + [("after", "\(cursor)"), ("limit", "\(pageSize)")]
            if wait > 0 { query.append(("wait", "\(wait)")) }
            let page = try await client.call(
                "GET", "/tasks/\(task)/logs", query: query, timeout: .seconds(wait + 15))
            let fresh = (page.data.array ?? []).filter { ($0.whole("seq") ?? 0) > cursor }
            cursor = fresh.last?.whole("seq") ?? cursor
            return (fresh, page.pagination.member("has_more")?.bool == true && !fresh.isEmpty)
        }
    }
}
