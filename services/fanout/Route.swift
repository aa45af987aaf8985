import Domain
import Notifications
import Store

/// Whom an event of a task may concern, and what they asked for.
struct Audience: Sendable {
    /// Preferences: task, repository, user, platform; the first that says something counts, key by key.
    var levels: [JSONValue]
    /// The surface that the task came from: `api`, `cli`, or the name of a channel.
    var origin: String
    /// What that surface said of itself, with the target under the channel's own name for it.
    var originMetadata: JSONValue
    var userEmail: String?
    var repo: String
    var issue: Int?
    var pullRequest: Int?
}

/// One place to tell.
struct Route: Sendable, Hashable {
    let channel: String
    let target: String
}

/// Which events concern people at all.
enum Relevance {
    /// The agent's own stream: told only on channels that list it themselves, so that it costs nothing elsewhere.
    static let chatter: Set<String> = Set(
        [TaskEventType.agentTurn, .agentToolCall, .agentToolResult, .agentCostUpdate, .checkpointSaved].map(\.rawValue))
    /// The milestones that people hear of. Facts with an event type of their own are not among them, so that nothing
    /// is told twice.
    static let milestones: Set<String> = ["progress"]

    /// False when no preference could make anybody hear of it: decided without a look at the task.
    static func mayConcernAnybody(_ event: TaskNotification.Event, _ channels: [RegisteredChannel]) -> Bool {
        if channels.isEmpty { return false }
        if event.type == TaskEventType.agentMilestone.rawValue {
            return event.metadata["milestone"]?.string.map(milestones.contains) ?? false
        }
        if !chatter.contains(event.type) { return true }
        return channels.contains { $0.defaultEvents.contains(event.type) || $0.verboseEvents.contains(event.type) }
    }
}

/// Whom to tell of an event. Pure; one notification per event, channel and target.
func route(_ event: TaskNotification.Event, to channels: [RegisteredChannel], _ audience: Audience) -> [Route] {
    guard Relevance.mayConcernAnybody(event, channels) else { return [] }
    var routes: [Route] = []
    for channel in channels {
        let preference = Preference(of: channel.name, in: audience.levels, setting: channel.schema.setting)
        guard preference.enabled ?? true else { continue }
        guard wants(event, channel, preference, isOrigin: audience.origin == channel.name) else { continue }
        for target in targets(of: channel, preference, audience) {
            let found = Route(channel: channel.name, target: target)
            if !routes.contains(found) { routes.append(found) }
        }
    }
    return routes
}

/// What always reaches the surface that a task came from: its end, and what waits for a person.
private let owed: Set<String> = Set(
    TaskEventType.finals.map(\.rawValue)
        + [TaskEventType.approvalRequired.rawValue, TaskEventType.questionAsked.rawValue])

private func wants(
    _ event: TaskNotification.Event, _ channel: RegisteredChannel, _ preference: Preference, isOrigin: Bool
) -> Bool {
    if isOrigin && owed.contains(event.type) { return true }
    for name in preference.events ?? ["default"] {
        switch name {
        case "default": if channel.defaultEvents.contains(event.type) { return true }
        case "verbose":
            if channel.defaultEvents.contains(event.type) || channel.verboseEvents.contains(event.type) { return true }
        default: if name == event.type { return true }
        }
    }
    return false
}

private func targets(of channel: RegisteredChannel, _ preference: Preference, _ audience: Audience) -> [String] {
    let schema = channel.schema
    for source in schema.sources {
        switch source {
        case .setting:
            // The task's own word first, then the place where it was started, then what holds in general.
            if preference.isOfTask, let named = preference.targets { return named }
            if audience.origin == channel.name, let here = audience.originMetadata[schema.setting]?.string {
                return [here]
            }
            if let named = preference.targets { return named }
        case .userEmail:
            if let email = audience.userEmail, !email.isEmpty { return [email] }
        case .subject:
            if let number = audience.issue ?? audience.pullRequest { return ["\(audience.repo)#\(number)"] }
        }
    }
    return channel.defaultTarget.map { [$0] } ?? []
}

/// What was asked for on one channel, merged over the levels. What is not of the right shape counts as not said.
private struct Preference {
    var enabled: Bool?
    var events: [String]?
    var targets: [String]?
    /// True when the targets come from the first level.
    var isOfTask = false

    init(of channel: String, in levels: [JSONValue], setting: String) {
        for (depth, level) in levels.enumerated() {
            guard let said = level[channel] else { continue }
            if enabled == nil { enabled = said["enabled"]?.bool ?? said.bool }
            if events == nil { events = Preference.texts(said["events"]) }
            if targets == nil, let named = Preference.texts(said[setting] ?? said["channel"]), !named.isEmpty {
                targets = named
                isOfTask = depth == 0
            }
        }
    }

    private static func texts(_ value: JSONValue?) -> [String]? {
        if let one = value?.string { return one.isEmpty ? nil : [one] }
        return value?.array?.compactMap(\.string).filter { !$0.isEmpty }
    }
}

extension RegisteredChannel {
    fileprivate var schema: TargetSchema { TargetSchema(targetSchema) }
}
