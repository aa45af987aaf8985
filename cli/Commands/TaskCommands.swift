import Domain
import HTTPTypes

/// The verbs about tasks.
package enum TaskCommands {
    private static let textLimit = 1 << 20

    // MARK: - submit

    @Sendable package static func submit(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let submission = try Submission(invocation, text: try words(invocation, surroundings.input))
        return try await submit("/tasks", submission.body, invocation, surroundings)
    }

    /// The same work once more, as a task of its own.
    @Sendable package static func retry(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        try await submit("/tasks/\(try taskID(invocation))/retry", nil, invocation, surroundings)
    }

    private static func submit(
        _ path: String, _ body: JSONValue?, _ invocation: Invocation, _ surroundings: Surroundings
    ) async throws -> ExitCode {
        let chosen = try invocation.text("idempotency-key").map { try IdempotencyKey.checked($0) }
        let key = chosen ?? IdempotencyKey.random()
        let waits = invocation.has("wait")
        try refuseIdleMaxWait(invocation)
        let client = try surroundings.client(for: invocation)
        let console = surroundings.console
        console.onInterrupt([
            "The task may have been accepted already: bgagent list shows it.",
            "The same command with --idempotency-key \(key) never makes a second one.",
        ])
        let answer = try await client.call(
            "POST", path, body: body, headers: [("Idempotency-Key", key)] + screening(invocation),
            isRepeatable: true, patience: .seconds(60))
        let task = answer.data
        guard let id = task.text("task_id").flatMap(TaskID.init) else {
            throw UserError("the gateway's answer names no task", "bgagent list shows whether it was accepted.")
        }
        let isRepeat = chosen != nil && answer.headers["Idempotent-Replay"] != nil
        if invocation.wantsJSON {
            console.print(task.encoded(pretty: !waits))
        } else {
            announce(task, id, isRepeat: isRepeat, waits: waits, console)
        }
        guard waits else { return .success }
        return try await follow(id, invocation, surroundings, after: nil)
    }

    /// What tells the gateway that an administrator knows what the screener finds.
    static func screening(_ invocation: Invocation) -> Headers {
        invocation.has("override-screening") ? ["X-Screening-Override": "1"] : []
    }

    /// The text to submit: the words, `--task`, or stdin for `-`.
    private static func words(_ invocation: Invocation, _ input: Input) throws -> String {
        guard let text = invocation.text("task") else { return try text(invocation, input) }
        guard invocation.words("TEXT").isEmpty else {
            throw UserError("the task is given twice: as words and by --task", "Keep one of them.")
        }
        return text
    }

    /// The words of a verb's last argument, or stdin for `-`.
    static func text(_ invocation: Invocation, _ input: Input) throws -> String {
        let words = invocation.words("TEXT")
        guard words == ["-"] else { return words.joined(separator: " ") }
        guard let bytes = input.readAll(textLimit) else {
            throw UserError("stdin holds more than is taken", "At most 10,000 characters are accepted.")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UserError("stdin is no UTF-8 text", "Convert it first, as with: iconv -t UTF-8")
        }
        return text
    }

    private static func announce(
        _ task: JSONValue, _ id: TaskID, isRepeat: Bool, waits: Bool, _ console: Console
    ) {
        let issue = task.whole("issue_number").map { " #\($0)" } ?? ""
        let place = Text.visible((task.text("repo") ?? "") + issue)
        let verb = isRepeat ? "was submitted before with this key" : "submitted"
        console.print("Task \(id) \(verb): \(place)")
        if let position = task.whole("queue_position") { console.print("Place \(position) in the queue.") }
        if !waits { console.print("Follow it: bgagent watch \(id)") }
    }

    // MARK: - watch

    @Sendable package static func watch(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let task = try taskID(invocation)
        return try await follow(task, invocation, surroundings, after: try eventID(invocation))
    }

    /// Shows events until the end, then the end itself.
    private static func follow(
        _ task: TaskID, _ invocation: Invocation, _ surroundings: Surroundings, after: String?
    ) async throws -> ExitCode {
        let console = surroundings.console
        let isJSON = invocation.wantsJSON
        let end = try await wait(task, invocation, surroundings, after: after) { event in
            console.print(
                isJSON ? event.encoded() : EventLine(event).rendered(style: console.style, width: console.width))
        }
        return conclude(end, task, console) { detail in
            if isJSON {
                console.print(detail.encoded())
            } else {
                for line in TaskPage.ending(detail, style: console.style) { console.print(line) }
            }
        }
    }

    private static func wait(
        _ task: TaskID, _ invocation: Invocation, _ surroundings: Surroundings, after: String? = nil,
        show: @escaping @Sendable (JSONValue) -> Void
    ) async throws -> Watcher.End {
        let console = surroundings.console
        let client = try surroundings.client(for: invocation, patience: APIClient.longPatience)
        console.onInterrupt([
            "The task goes on. Come back with: bgagent watch \(task)", "Stop it with: bgagent cancel \(task)",
        ])
        let maxWait = invocation.seconds("max-wait").map { Duration.seconds($0) }
        return try await console.whileSpinning {
            var watcher = Watcher(task, client: client, surroundings: surroundings, after: after, show: show)
            return try await watcher.follow(maxWait: maxWait)
        }
    }

    private static func conclude(
        _ end: Watcher.End, _ task: TaskID, _ console: Console, show: (JSONValue) -> Void
    ) -> ExitCode {
        switch end {
        case .ended(let detail):
            show(detail)
            return detail.text("status") == TaskStatus.completed.rawValue ? .success : .failure
        case .expired(let state):
            console.note("--max-wait has passed; the task goes on (\(Text.visible(state))).")
            console.note("Come back with: bgagent watch \(task)")
            return .stillRunning
        }
    }

    // MARK: - status, show

    @Sendable package static func status(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try taskID(invocation)
        try refuseIdleMaxWait(invocation)
        let console = surroundings.console
        var end: Watcher.End?
        if invocation.has("wait") { end = try await wait(task, invocation, surroundings) { _ in } }
        let client = try surroundings.client(for: invocation)
        let snapshot = try await client.call("GET", "/tasks/\(task)/status").data
        if invocation.wantsJSON {
            console.print(snapshot.encoded(pretty: true))
        } else {
            for line in StatusPage(snapshot).lines(style: console.style) { console.print(line) }
        }
        return end.map { conclude($0, task, console) { _ in } } ?? .success
    }

    @Sendable package static func show(_ invocation: Invocation, _ surroundings: Surroundings) async throws -> ExitCode
    {
        let task = try taskID(invocation)
        let console = surroundings.console
        let detail = try await surroundings.client(for: invocation).call("GET", "/tasks/\(task)").data
        if invocation.wantsJSON {
            console.print(detail.encoded(pretty: true))
        } else {
            for line in TaskPage.lines(detail, style: console.style) { console.print(line) }
        }
        return .success
    }

    // MARK: - cancel

    @Sendable package static func cancel(_ invocation: Invocation, _ surroundings: Surroundings) async throws
        -> ExitCode
    {
        let task = try taskID(invocation)
        try refuseIdleMaxWait(invocation)
        let console = surroundings.console
        let client = try surroundings.client(for: invocation)
        let answer = try await requestCancel(task, client)
        if !invocation.has("wait") {
            if invocation.wantsJSON {
                console.print(answer.encoded(pretty: true))
            } else if answer.text("status") == TaskStatus.cancelled.rawValue {
                console.print("Task \(task) is cancelled.")
            } else {
                console.print("Task \(task) is stopping; its work so far is pushed first.")
                console.print("Follow it: bgagent watch \(task)")
            }
            return .success
        }
        let end = try await wait(task, invocation, surroundings) { _ in }
        var detail: JSONValue?
        let code = conclude(end, task, console) { detail = $0 }
        guard let detail else { return code }
        if invocation.wantsJSON {
            console.print(detail.encoded(pretty: true))
        } else {
            for line in TaskPage.ending(detail, style: console.style).dropFirst() { console.print(line) }
        }
        return detail.text("status") == TaskStatus.cancelled.rawValue ? .success : .failure
    }

    /// Cancels; when an answer was lost on the way, a task found cancelled was cancelled by this very command.
    private static func requestCancel(_ task: TaskID, _ client: APIClient) async throws -> JSONValue {
        do {
            return try await client.call("DELETE", "/tasks/\(task)").data
        } catch let error as APIError where error.status == 409 && error.followsLostAnswer {
            let detail = try await client.call("GET", "/tasks/\(task)").data
            guard detail.text("status") == TaskStatus.cancelled.rawValue else { throw error }
            return detail
        }
    }

    // MARK: - Arguments

    package static func taskID(_ invocation: Invocation) throws -> TaskID {
        let text = try invocation.required("TASK")
        guard let task = TaskID(rawValue: text) else {
            throw UserError(
                "'\(Text.visible(text))' is no task id; one has 26 letters and digits", "bgagent list shows them.")
        }
        return task
    }

    package static func eventID(_ invocation: Invocation) throws -> String? {
        guard let text = invocation.text("after") else { return nil }
        guard let event = EventID(rawValue: text) else {
            throw UserError(
                "'\(Text.visible(text))' is no event id; one has 26 letters and digits",
                "bgagent events TASK shows them.")
        }
        return event.rawValue
    }

    private static func refuseIdleMaxWait(_ invocation: Invocation) throws {
        if invocation.has("max-wait"), !invocation.has("wait") {
            throw UserError("--max-wait needs --wait", "bgagent help \(invocation.verb.name) tells more.")
        }
    }
}
