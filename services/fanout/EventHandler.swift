import Domain
import Messaging
import Notifications
import Postgres
import Store
import Telemetry

/// Takes the events of all tasks and plans whom to tell: ledger rows, outbox rows and position are one transaction, so
/// a replay changes nothing.
struct EventHandler: MessageHandler {
    let consumer = "fanout"
    let callsOutside = false
    let directory: ChannelDirectory
    /// The lowest level of preferences.
    let platform: JSONValue
    let metrics: EventMetrics

    init(directory: ChannelDirectory, platform: JSONValue, metrics: Metrics = .process) {
        self.directory = directory
        self.platform = platform
        self.metrics = EventMetrics(metrics)
    }

    func handle(_ message: Message, _ step: Step) async throws -> Outcome {
        guard let event = TaskNotification.Event(message) else { return .deadLetter(reason: "not an event") }
        let channels = try await directory.channels()
        guard Relevance.mayConcernAnybody(event, channels) else {
            try await step.commit { _ in }
            metrics.took(event, told: [])
            return .done
        }
        let (task, platform) = (message.taskID, platform)
        let told = try await step.commit { tx -> [Route] in
            guard let facts = try NotificationStore.facts(task, in: tx) else { return [] }
            let routes = route(event, to: channels, Audience(facts, event: event, platform: platform))
            if routes.isEmpty { return [] }
            let payload = try JSONText.encode(
                TaskNotification(event: event, task: .init(facts, id: task, event: event)))
            let notifications = try routes.map { one in
                PlannedNotification(
                    effectID: try TaskNotification.id(event: event.id, channel: one.channel, target: one.target),
                    channel: one.channel, target: one.target, payload: payload)
            }
            _ = try NotificationStore.plan(
                notifications, of: task, attempt: event.attempt, eventID: event.id, seq: event.seq, type: event.type,
                in: tx)
            return routes
        }
        metrics.took(event, told: told)
        return .done
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
