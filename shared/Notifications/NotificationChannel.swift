import Config
import Domain

/// A kind of place where people hear of tasks. Everything that all channels share is `Dispatcher`'s.
///
/// A new channel is one folder with an implementation of this, and one statement: `Dispatcher<XChannel>.main()`.
package protocol NotificationChannel: Sendable {
    /// A notification in the channel's own form.
    associatedtype Message: Sendable

    /// In preferences, in the ledger and in routing keys. Lower case; never changes.
    static var name: String { get }
    /// What people hear who asked for nothing in particular.
    static var defaultEvents: Set<TaskEventType> { get }
    /// What `verbose` adds.
    static var verboseEvents: Set<TaskEventType> { get }
    static var targetSchema: TargetSchema { get }
    /// True when there is one message per task and target, and later notifications change it.
    static var editsInPlace: Bool { get }
    /// How fast one bucket may be written to.
    static var pace: Pace { get }
    /// What shares a rate limit with what.
    static func bucket(of target: String) -> String

    /// Reads the channel's settings, all of them on every path; starts nothing.
    init(_ environment: inout Environment, _ service: ServiceConfig)
    /// Whom to tell when nobody names a target.
    var defaultTarget: String? { get }

    /// The notification in the channel's words. Pure.
    func render(_ notification: TaskNotification) -> Message
    /// One try. Must end within half a minute; an error says whether it may have happened all the same.
    func send(_ message: Message, as delivery: ChannelDelivery) async throws(SendError) -> Receipt
    /// What `bgagent doctor` tells of the other side: reachable, our account valid. No effect there; within ten seconds.
    func check() async -> [Check]
    /// Whether a try whose end is not known has happened, by the marker that `send` left.
    func lookUp(_ message: Message, as delivery: ChannelDelivery) async throws(SendError) -> LookUp
}

extension NotificationChannel {
    package static var verboseEvents: Set<TaskEventType> { [] }
    package static var editsInPlace: Bool { false }
    package static var pace: Pace { Pace(perSecond: 1_000, burst: 1_000) }
    package static func bucket(of target: String) -> String { target }
    package var defaultTarget: String? { nil }
    package func check() async -> [Check] { [] }
}

/// What a send is about, besides the message.
package struct ChannelDelivery: Sendable {
    /// The marker: unique for ever, the same at every try.
    package var effectID: String
    package var taskID: TaskID
    package var target: String
    /// What the channel remembers of this task and target: the last receipt's `state`.
    package var state: JSONValue?
    /// When it was planned, in seconds since 1970: nothing of it is older.
    package var plannedAt: Double

    package init(effectID: String, taskID: TaskID, target: String, state: JSONValue? = nil, plannedAt: Double = 0) {
        self.effectID = effectID
        self.taskID = taskID
        self.target = target
        self.state = state
        self.plannedAt = plannedAt
    }
}

/// Proof of one send.
package struct Receipt: Sendable, Hashable {
    /// What the other side calls it: a comment's id, a message's timestamp.
    package var externalRef: String
    /// What to remember of this task and target from now on; nil leaves it as it is.
    package var state: JSONValue?

    package init(externalRef: String, state: JSONValue? = nil) {
        self.externalRef = externalRef
        self.state = state
    }
}

/// What a look-up says.
package enum LookUp: Sendable, Hashable {
    /// It happened.
    case found(Receipt)
    /// It surely did not happen, or sending it again changes nothing.
    case absent
    /// This channel cannot tell: it is sent again, and may arrive twice.
    case impossible
}

/// Why a send, or a look-up, failed.
package struct SendError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// Too fast; nothing happened. Counts as no try.
        case rateLimited(retryAfter: Duration?)
        /// Nothing happened; it may work later.
        case unavailable
        /// No answer: it may have happened.
        case unknown
        /// It will never work as it is.
        case refused

        /// The kind in one word.
        package var name: String {
            switch self {
            case .rateLimited: "rate_limited"
            case .unavailable: "unavailable"
            case .unknown: "unknown"
            case .refused: "refused"
            }
        }
    }

    package let kind: Kind
    /// For people and logs; holds no secret.
    package let message: String

    package init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = String(message.prefix(500))
    }

    package var description: String { message }
}

/// A rate limit: so many at once, so many per second in the long run.
package struct Pace: Sendable, Hashable {
    package var perSecond: Double
    package var burst: Double

    package init(perSecond: Double, burst: Double) {
        self.perSecond = perSecond
        self.burst = burst
    }
}
