import Domain
import FoundationEssentials

/// The verbs that page through tasks and events.
extension TaskCommands {
    private static let pageSize = 100
    private static let defaultTasks = 20
    private static let defaultEvents = 50

    // MARK: - list

    @Sendable package static func list(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        var filters: [(String, String)] = []
        if let states = invocation.text("status") { filters.append(("status", try checkedStates(states))) }
        if let repo = invocation.text("repo") { filters.append(("repo", try Submission.repository(repo).rawValue)) }
        let limit = invocation.has("all") ? Int.max : invocation.whole("limit") ?? defaultTasks
        var tasks: [JSONValue] = []
        var token: String?
        var hasMore = true
        while hasMore, tasks.count < limit {
            let size = ("limit", "\(min(pageSize, limit - tasks.count))")
            let page = try await client.call(
                "GET", "/tasks", query: filters + [size] + (token.map { [("next_token", $0)] } ?? []))
            tasks += page.data.array ?? []
            token = page.pagination.text("next_token")
            hasMore = token != nil
        }
        if invocation.wantsJSON {
            console.print(JSONValue.array(tasks).encoded(pretty: true))
            return .success
        }
        guard !tasks.isEmpty else {
            console.note(filters.isEmpty ? "No tasks yet. bgagent submit hands one over." : "No tasks match.")
            return .success
        }
        let table = TaskPage.table(tasks, now: surroundings.pace.now().timeIntervalSince1970)
        for line in table.lines(style: console.style, width: console.width) { console.print(line) }
        if hasMore { console.note("There are more: --all, or --limit N.") }
        return .success
    }

    /// State names in any case, separated by commas.
    private static func checkedStates(_ text: String) throws -> String {
        let names = text.split(separator: ",").map { $0.uppercased() }
        for name in names where TaskStatus(rawValue: name) == nil {
            let known = TaskStatus.allCases.map(\.rawValue)
            let advice =
                Suggestion.nearest(to: name, among: known).map { "Did you mean \($0)?" }
                ?? "States: \(known.joined(separator: ", "))"
            throw UserError("'\(Text.visible(name))' is no state of a task", advice)
        }
        return names.joined(separator: ",")
    }

    // MARK: - events

    @Sendable package static func events(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try taskID(invocation)
        let console = surroundings.console
        if invocation.has("desc"), invocation.has("all") || invocation.has("after") {
            throw UserError("--desc shows the newest events only", "Leave --all and --after away, or --desc.")
        }
        var cursor = try eventID(invocation)
        let client = try surroundings.client(for: invocation)
        let isDescending = invocation.has("desc")
        let most = isDescending ? pageSize : Int.max
        let limit = invocation.has("all") ? Int.max : min(most, invocation.whole("limit") ?? defaultEvents)
        var filters: [(String, String)] = isDescending ? [("desc", "1")] : []
        if let type = invocation.text("type") { filters.append(("type", try checkedType(type))) }
        var events: [JSONValue] = []
        var hasMore = true
        while hasMore, events.count < limit {
            let size = ("limit", "\(min(pageSize, limit - events.count))")
            let page = try await client.call(
                "GET", "/tasks/\(task)/events", query: filters + [size] + (cursor.map { [("after", $0)] } ?? []))
            let fresh = page.data.array ?? []
            events += fresh
            let last = fresh.last?.text("event_id")
            hasMore = page.pagination.member("has_more")?.bool == true && last != nil && last != cursor
            cursor = last ?? cursor
            if isDescending { break }
        }
        if invocation.wantsJSON {
            console.print(JSONValue.array(events).encoded(pretty: true))
            return .success
        }
        for event in events {
            let id = console.style.paint(Text.visible(event.text("event_id") ?? "–"), .dim)
            let line = EventLine(event).rendered(style: console.style, width: console.width.map { $0 - 28 })
            console.print(id + "  " + line)
        }
        if events.isEmpty { console.note("No events.") }
        if hasMore, let cursor, !isDescending {
            console.note("There are more: --all, or --after \(Text.visible(cursor))")
        }
        return .success
    }

    private static func checkedType(_ text: String) throws -> String {
        guard TaskEventType(rawValue: text) == nil else { return text }
        let known = TaskEventType.allCases.map(\.rawValue)
        let advice =
            Suggestion.nearest(to: text, among: known).map { "Did you mean \($0)?" }
            ?? "bgagent events TASK shows the types a task has."
        throw UserError("'\(Text.visible(text))' is no type of event", advice)
    }
}
