import Domain
import Messaging
import Notifications
import Postgres
import Store
import Telemetry
import Tracing

/// Takes the events of all tasks and plans whom to tell: ledger rows, outbox rows and position are one transaction, so
/// a replay changes nothing.
struct EventHandler: MessageHandler {
    let consumer = "fanout"
    let callsOutside = false
    let directory: ChannelDirectory
    /// The lowest level of preferences.
    let platform: JSONValue
    let metrics: EventMetrics
    let timeline: TimelineTelling

    init(
        directory: ChannelDirectory, platform: JSONValue, timeline: TimelineTelling = .off,
        metrics: Metrics = .process
    ) {
        self.directory = directory
        self.platform = platform
        self.timeline = timeline
        self.metrics = EventMetrics(metrics)
    }

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        guard let event = TaskNotification.Event(message) else { return .deadLetter(reason: "not an event") }
        guard let trace = timeline.trace(message.traceparent) else {
            return try await plan(event, message, step).outcome
        }
        let began = SpanTime.now
        let (outcome, channels) = try await plan(event, message, step)
        if !channels.isEmpty { timeline.tell(channels, of: event, message.taskID, in: trace, from: began) }
        // Every task comes to its end through here, once.
        if TaskEventType(rawValue: event.type).map(TaskEventType.finals.contains) ?? false {
            await timeline.tell(message.taskID)
        }
        return outcome
    }

    /// Returns the channels of what was planned, too.
    private func plan(
        _ event: TaskNotification.Event, _ message: Message, _ step: Step
    ) async throws -> (outcome: Outcome, channels: [String]) {
        let channels = try await directory.channels()
        guard Relevance.mayConcernAnybody(event, channels) else {
            try await step.commit([])
            metrics.took(event, told: [])
            return (.done, [])
        }
        let (routes, plan) = try await self.routes(of: event, message.taskID, to: channels, step)
        try await step.commit(plan)
        metrics.took(event, told: routes)
        return (.done, routes.map(\.channel))
    }

    /// Whom to tell, and the statements that plan it; none for a task that is not there any more.
    private func routes(
        of event: TaskNotification.Event, _ task: TaskID, to channels: [RegisteredChannel], _ step: Step
    ) async throws -> ([Route], plan: [Query]) {
        guard let facts = try await NotificationStore.facts(of: step.read(NotificationStore.facts(task))) else {
            return ([], [])
        }
        let routes = route(event, to: channels, Audience(facts, event: event, platform: platform))
        if routes.isEmpty { return ([], []) }
        let payload = try JSONText.encode(TaskNotification(event: event, task: .init(facts, id: task, event: event)))
        let notifications = try routes.map { one in
            PlannedNotification(
                effectID: try TaskNotification.id(event: event.id, channel: one.channel, target: one.target),
                channel: one.channel, target: one.target, payload: payload)
        }
        let plan = NotificationStore.plan(
            notifications, of: task, attempt: event.attempt, eventID: event.id, seq: event.seq, type: event.type)
        return (routes, plan)
    }
}

extension TaskNotification.Event {
    /// Nil when the message is none that tells an event.
    fileprivate init?(_ message: Message) {
        guard let id = message.body["event_id"]?.string, let type = message.body["event_type"]?.string else {
            return nil
        }
        self.init(
            id: id, seq: message.seq, type: type, timestamp: message.body["timestamp"]?.string ?? "",
            attempt: message.attempt, metadata: message.body["metadata"] ?? [:])
    }
}

extension Audience {
    fileprivate init(_ facts: NotificationFacts, event: TaskNotification.Event, platform: JSONValue) {
        self.init(
            levels: facts.preferences + [platform], origin: facts.channelSource,
            originMetadata: facts.channelMetadata, userEmail: facts.userEmail, repo: facts.repo,
            issue: facts.issueNumber,
            pullRequest: event.metadata["pr_number"]?.integer.map(Int.init) ?? facts.pullRequestNumber)
    }
}

extension TaskNotification.Subject {
    /// Where the event says something of the task, the event is right: the row may be ahead of it.
    fileprivate init(_ facts: NotificationFacts, id: TaskID, event: TaskNotification.Event) {
        self.init(
            id: id.rawValue, repo: facts.repo, status: event.metadata["status"]?.string ?? facts.status,
            issue: facts.issueNumber,
            title: facts.description.flatMap { TaskNotification.firstLine($0) },
            costMicros: facts.cost.micros, turns: facts.turns)
        branch = facts.branch
        outcome = event.metadata["outcome"]?.string ?? facts.outcome
        answer = facts.answer.map { String($0.prefix(2_000)) }
        pullRequest = event.metadata["pr_number"]?.integer.map(Int.init) ?? facts.pullRequestNumber
        pullRequestURL = event.metadata["pr_url"]?.string ?? facts.pullRequestURL
        error = event.metadata["error"] ?? facts.error
        durationSeconds = facts.durationSeconds
        credentialRef = facts.credentialRef
    }
}
