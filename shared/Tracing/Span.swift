import Domain
import Telemetry

/// A value of a span's attribute.
package enum SpanValue: Sendable, Hashable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral
{
    /// Longer texts are cut: what a span says of itself are names, never documents.
    static let longestText = 200

    case text(String)
    case integer(Int64)
    case number(Double)
    case bool(Bool)

    package init(stringLiteral value: String) { self = .text(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(_ value: Int) { self = .integer(Int64(value)) }
}

/// Attributes in the order they are told. A nil value leaves its attribute out.
package typealias SpanAttributes = KeyValuePairs<String, SpanValue?>

/// A piece of work that is over, as it is exported.
package struct Span: Sendable {
    /// What the work is to its neighbours, by the numbers of OTLP.
    package enum Kind: Int64, Sendable {
        case `internal` = 1
        case server = 2
        case client = 3
        case producer = 4
        case consumer = 5
    }

    package var name: String
    /// Its own id, in its trace.
    package var context: TraceContext
    /// The span that it is a part of; nil for the first of a trace.
    package var parentID: String?
    package var kind: Kind
    package var start: SpanTime
    package var end: SpanTime
    package var attributes: [(name: String, value: SpanValue)] = []
    /// What went wrong: a code or a type's name, never a message, which may quote what a task is about.
    package var errorType: String?
    /// Whose work it is, where that is not this process.
    package var service: String?

    package init(
        _ name: String, _ context: TraceContext, parent: String?, kind: Kind = .internal, from start: SpanTime,
        to end: SpanTime, _ attributes: SpanAttributes = [:], errorType: String? = nil, service: String? = nil
    ) {
        self.name = name
        self.context = context
        self.parentID = parent
        self.kind = kind
        self.start = start
        self.end = max(start, end)
        self.errorType = errorType
        self.service = service
        add(attributes)
    }

    package mutating func add(_ more: SpanAttributes) {
        for (name, value) in more {
            if let value { attributes.append((name, value)) }
        }
    }
}

/// A moment on the wall clock.
package struct SpanTime: Sendable, Hashable, Comparable {
    /// Since 1970.
    package let nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    package init(microseconds: Int64) { nanoseconds = microseconds * 1000 }

    package static func < (left: SpanTime, right: SpanTime) -> Bool { left.nanoseconds < right.nanoseconds }

    package static func - (time: SpanTime, milliseconds: Int64) -> SpanTime {
        SpanTime(nanoseconds: time.nanoseconds - milliseconds * 1_000_000)
    }
}

/// The ids that the parts of a task's trace have, wherever they are told: made from the task's own `traceparent`, so
/// that no process has to be asked for them and none has to remember them.
package struct TaskTrace: Sendable {
    /// The request that made the task: what its `traceparent` names.
    package let request: TraceContext

    /// Nil when the trace is not recorded, or there is none.
    package init?(_ traceparent: String) {
        guard let context = TraceContext(traceparent: traceparent), context.isSampled else { return nil }
        request = context
    }

    /// From the submit to the final state.
    package var task: TraceContext { request.part("task") }

    /// One attempt's session, from its request to its end.
    package func session(_ attempt: Int) -> TraceContext { task.part("session \(attempt)") }

    /// What fanout decided about an event: the parent of its sends.
    package func decision(_ eventID: String) -> TraceContext { task.part("decision \(eventID)") }
}
