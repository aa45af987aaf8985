import Domain

/// Follows the events of one task to its end: long polls, a cursor by event id so that nothing is skipped and nothing
/// shown twice, and patience with a gateway that is away for minutes.
package struct Watcher: Sendable {
    /// How following ended.
    package enum End: Sendable {
        /// The task is final; this is its detail.
        case ended(JSONValue)
        /// The time to wait passed first; the task goes on in this state.
        case expired(state: String)
    }

    private static let longPoll = 25
    private static let pageSize = 100
    /// Pauses of a gateway that does not hold a long poll; an event begins them anew.
    package static let ladder: [Duration] = [.milliseconds(500), .seconds(1), .seconds(2), .seconds(5)]
    /// Between pages while events come, so that a busy task is read in pages rather than one by one.
    private static let breath: Duration = .milliseconds(200)

    private let client: APIClient
    private let pace: Pace
    private let console: Console
    private let task: TaskID
    private let show: @Sendable (JSONValue) -> Void

    private var cursor: String?
    private var holdsLongPoll = true
    private var step = 0
    private var state = "SUBMITTED"
    private var progress = WatchProgress()

    /// - Parameters:
    ///   - after: the event behind which to begin; nil for the first.
    ///   - show: gets every event once, in order.
    package init(
        _ task: TaskID, client: APIClient, surroundings: Surroundings, after: String? = nil,
        show: @escaping @Sendable (JSONValue) -> Void
    ) {
        self.task = task
        self.client = client
        pace = surroundings.pace
        console = surroundings.console
        cursor = after
        self.show = show
    }

    /// - Parameter maxWait: nil waits as long as the task lasts.
    /// - Throws: ``APIError`` or ``TransportError`` once patience is over.
    package mutating func follow(maxWait: Duration?) async throws -> End {
        let deadline = maxWait.map { pace.uptime() + $0 }
        do {
            return try await follow(until: deadline)
        } catch let error as TransportError {
            // An outage that outlasts the wait is a wait that expired: the task knows nothing of it.
            guard let deadline, deadline - pace.uptime() < .seconds(8) else { throw error }
            return .expired(state: state)
        }
    }

    private mutating func follow(until deadline: Duration?) async throws -> End {
        try await lookAtState(deadline)
        while true {
            let asked = pace.uptime()
            let wait = isFinal ? 0 : waitSeconds(deadline)
            let page = try await nextPage(wait: wait, deadline)
            let isFresh = take(page.data.array ?? [])
            if isFresh, page.pagination.member("has_more")?.bool == true { continue }
            if isFinal {
                return .ended(try await client.call("GET", "/tasks/\(task)", patience: patience(deadline)).data)
            }
            if isFresh {
                step = 0
                try await rest(Self.breath, deadline)
            } else {
                try await lookAtState(deadline)
                let spent = pace.uptime() - asked
                if !isFinal, spent < .seconds(wait) / 2 || wait == 0 {
                    try await rest(Self.ladder[min(step, Self.ladder.count - 1)], deadline)
                    step += 1
                }
            }
            if !isFinal, let deadline, pace.uptime() >= deadline { return .expired(state: state) }
        }
    }

    private var isFinal: Bool { TaskStatus(rawValue: state)?.isFinal ?? false }

    private mutating func lookAtState(_ deadline: Duration?) async throws {
        let snapshot = try await client.call("GET", "/tasks/\(task)/status", patience: patience(deadline)).data
        state = snapshot.text("status") ?? state
        progress.take(snapshot: snapshot)
        console.spin(progress.line)
    }

    /// One page behind the cursor. A gateway that refuses `wait` is asked without it from then on.
    private mutating func nextPage(wait: Int, _ deadline: Duration?) async throws -> APIClient.Answer {
        var query = [("limit", "\(Self.pageSize)")]
        if let cursor { query.append(("after", cursor)) }
        if wait > 0 { query.append(("wait", "\(wait)")) }
        do {
            return try await client.call(
                "GET", "/tasks/\(task)/events", query: query, timeout: .seconds(wait + 15),
                patience: patience(deadline))
        } catch let error as APIError where wait > 0 && error.status == 400 && error.message.contains("wait") {
            holdsLongPoll = false
            return try await nextPage(wait: 0, deadline)
        }
    }

    /// Shows what is new and moves the cursor. Ids only grow within a task, so an old one is a repeat.
    /// - Returns: whether anything was new.
    private mutating func take(_ events: [JSONValue]) -> Bool {
        var isFresh = false
        for event in events {
            guard let id = event.text("event_id") else { continue }
            if let cursor, id.utf8.elementsEqual(cursor.utf8) || id.utf8.lexicographicallyPrecedes(cursor.utf8) {
                continue
            }
            cursor = id
            isFresh = true
            show(event)
            progress.take(event: event)
            if let type = event.text("event_type").flatMap(TaskEventType.init), let end = Self.state(after: type) {
                state = end
            }
        }
        if isFresh { console.spin(progress.line) }
        return isFresh
    }

    private static func state(after type: TaskEventType) -> String? {
        switch type {
        case .taskCompleted: TaskStatus.completed.rawValue
        case .taskFailed, .taskStranded: TaskStatus.failed.rawValue
        case .taskCancelled: TaskStatus.cancelled.rawValue
        case .taskTimedOut: TaskStatus.timedOut.rawValue
        default: nil
        }
    }

    private func waitSeconds(_ deadline: Duration?) -> Int {
        guard holdsLongPoll else { return 0 }
        guard let deadline else { return Self.longPoll }
        let left = deadline - pace.uptime()
        return max(1, min(Self.longPoll, Int(left.components.seconds) + 1))
    }

    private func patience(_ deadline: Duration?) -> Duration {
        guard let deadline else { return APIClient.longPatience }
        return max(.zero, min(APIClient.longPatience, deadline - pace.uptime()))
    }

    private func rest(_ length: Duration, _ deadline: Duration?) async throws {
        let left = deadline.map { max(.zero, $0 - pace.uptime()) } ?? length
        try await pace.pause(min(length, left))
    }
}
