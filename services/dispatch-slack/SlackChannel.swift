import Config
import Domain
import HTTPClient
import HTTPTypes
import Lifecycle
import Notifications

/// Slack: one root message per task and channel, everything later in its thread.
///
/// The marker is the message's metadata. A send without an answer is looked for in the channel's history, or in the
/// thread once there is one.
struct SlackChannel: NotificationChannel {
    static let name = "slack"
    static let defaultEvents: Set<TaskEventType> = [
        .taskCompleted, .taskFailed, .taskCancelled, .taskTimedOut, .taskStranded, .prCreated, .agentError,
        .approvalRequired, .questionAsked, .budgetExhausted, .statusResponse,
    ]
    static let verboseEvents: Set<TaskEventType> = [.agentMilestone]
    static let targetSchema = TargetSchema(setting: "channel", purpose: "a channel's id (C…) or name")
    /// What Slack asks for: one message a second and channel, with some indulgence.
    static let pace = Pace(perSecond: 1, burst: 4)

    let defaultTarget: String?
    private let api: SlackAPI

    init(_ environment: inout Environment, _ service: ServiceConfig) {
        let url = environment.url("BGAGENT_SLACK_API_URL", default: "https://slack.com/api", "Slack's Web API")
        let token = environment.secret(
            "BGAGENT_SLACK_TOKEN", "bot token with chat:write, channels:history and groups:history")
        defaultTarget = environment.optionalString(
            "BGAGENT_SLACK_CHANNEL", "channel for tasks whose preferences name none")
        api = SlackAPI(url: url, token: token, caFile: service.caFile)
    }

    func check() async -> [Check] {
        do {
            let answer = try await api.get("auth.test", [])
            let team = answer["team"]?.string ?? "a workspace"
            return [.passed("slack", "the token is \(answer["user"]?.string ?? "a bot") in \(team)")]
        } catch {
            let remedy: String
            switch error.kind {
            case .rateLimited: return [.passed("slack", "answers and is busy")]
            case .refused:
                remedy = "Set BGAGENT_SLACK_TOKEN to the bot token of an installed app and restart dispatch-slack."
            case .unavailable, .unknown:
                remedy = "Make the address of BGAGENT_SLACK_API_URL reachable from dispatch-slack."
            }
            return [.failed("slack", error.message, remedy: remedy)]
        }
    }

    func render(_ notification: TaskNotification) -> SlackMessage { SlackMessage(notification) }

    func send(_ message: SlackMessage, as delivery: ChannelDelivery) async throws(SendError) -> Receipt {
        guard let thread = SlackThread(delivery.state) else { return try await post(message, delivery, in: nil) }
        do {
            return try await post(message, delivery, in: thread)
        } catch let error where error.message.hasSuffix(": thread_not_found") {
            // Somebody deleted the root: the task gets another.
            return try await post(message, delivery, in: nil)
        }
    }

    private func post(
        _ message: SlackMessage, _ delivery: ChannelDelivery, in thread: SlackThread?
    ) async throws(SendError) -> Receipt {
        var arguments: [String: JSONValue] = [
            "channel": .string(thread?.channel ?? delivery.target),
            "text": .string(thread == nil ? message.root : message.update),
            "metadata": [
                "event_type": "bgagent_task",
                "event_payload": [
                    "task_id": .string(delivery.taskID.rawValue), "effect_id": .string(delivery.effectID),
                ],
            ],
            "unfurl_links": false, "unfurl_media": false,
        ]
        if let thread { arguments["thread_ts"] = .string(thread.ts) }
        let answer = try await api.post("chat.postMessage", .object(arguments))
        guard let ts = answer["ts"]?.string else {
            throw SendError(.unknown, "chat.postMessage: the answer has no ts")
        }
        let root = thread ?? SlackThread(channel: answer["channel"]?.string ?? delivery.target, ts: ts)
        return Receipt(externalRef: ts, state: root.json)
    }

    func lookUp(_ message: SlackMessage, as delivery: ChannelDelivery) async throws(SendError) -> LookUp {
        guard let thread = SlackThread(delivery.state) else { return try await lookInHistory(delivery) }
        do {
            let asked = [("channel", thread.channel), ("ts", thread.ts)]
            return try await look(for: delivery, "conversations.replies", asked) { _ in thread }
        } catch let error where error.message.hasSuffix(": thread_not_found") {
            // The root is deleted: the try that we look for has made another, if anything.
            return try await lookInHistory(delivery)
        }
    }

    private func lookInHistory(_ delivery: ChannelDelivery) async throws(SendError) -> LookUp {
        let channel = try await api.channelID(of: delivery.target)
        // Slack's clock and ours may differ a little.
        let asked = [("channel", channel), ("oldest", "\(Int(delivery.plannedAt) - 300).000000")]
        return try await look(for: delivery, "conversations.history", asked) { SlackThread(channel: channel, ts: $0) }
    }

    private func look(
        for delivery: ChannelDelivery, _ method: String, _ asked: [(String, String)],
        thread: (_ ts: String) -> SlackThread
    ) async throws(SendError) -> LookUp {
        var cursor = ""
        for _ in 0..<50 {
            let paging = [("include_all_metadata", "true"), ("limit", "200")]
            let answer = try await api.get(method, asked + paging + (cursor.isEmpty ? [] : [("cursor", cursor)]))
            for one in answer["messages"]?.array ?? [] {
                let payload = one["metadata"]?["event_payload"]
                guard payload?["effect_id"]?.string == delivery.effectID, let ts = one["ts"]?.string else { continue }
                return .found(Receipt(externalRef: ts, state: thread(ts).json))
            }
            cursor = answer["response_metadata"]?["next_cursor"]?.string ?? ""
            if cursor.isEmpty { return .absent }
        }
        throw SendError(.unavailable, "\(method): too many messages to look through")
    }
}

/// The thread of a task: what the channel remembers.
struct SlackThread: Sendable, Hashable {
    /// The channel's id, as Slack answered it.
    let channel: String
    let ts: String

    init(channel: String, ts: String) {
        self.channel = channel
        self.ts = ts
    }

    init?(_ state: JSONValue?) {
        guard let channel = state?["channel"]?.string, let ts = state?["ts"]?.string else { return nil }
        self.init(channel: channel, ts: ts)
    }

    var json: JSONValue { ["channel": .string(channel), "ts": .string(ts)] }
}
