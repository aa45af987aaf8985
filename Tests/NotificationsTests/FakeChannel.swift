import Config
import Domain
import Notifications
import Threads

/// A channel that tells people nothing and keeps what it was given. What it answers is the test's to say.
struct FakeChannel: NotificationChannel {
    static let name = "fake"
    static let defaultEvents: Set<TaskEventType> = [.taskCompleted, .taskFailed]
    static let verboseEvents: Set<TaskEventType> = [.agentMilestone]
    static let targetSchema = TargetSchema(setting: "channel")

    final class Outside: Sendable {
        let sent = Lock<[(effect: String, type: String, state: JSONValue?)]>([])
        /// What the next sends answer, in order; none left = success.
        let answers = Lock<[SendError]>([])
        /// Runs inside each send before it answers.
        let during = Lock<(@Sendable (ChannelDelivery) async -> Void)?>(nil)
        let lookUp = Lock<LookUp>(.absent)

        var types: [String] { sent.withLock { $0.map(\.type) } }
    }

    let outside: Outside
    let defaultTarget: String? = "there"

    init(_ outside: Outside) { self.outside = outside }
    init(_ environment: inout Environment, _ service: ServiceConfig) { self.init(Outside()) }

    func render(_ notification: TaskNotification) -> String { notification.event.type }

    func send(_ message: String, as delivery: ChannelDelivery) async throws(SendError) -> Receipt {
        await outside.during.withLock { $0 }?(delivery)
        if let error = outside.answers.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { throw error }
        let count = outside.sent.withLock { sent in
            sent.append((delivery.effectID, message, delivery.state))
            return sent.count
        }
        return Receipt(externalRef: "\(count)", state: delivery.state ?? ["root": .string(delivery.effectID)])
    }

    func lookUp(_ message: String, as delivery: ChannelDelivery) async throws(SendError) -> LookUp {
        outside.lookUp.withLock { $0 }
    }
}
