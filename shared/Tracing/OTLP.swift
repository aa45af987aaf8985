import Domain
import Telemetry

/// Spans as an export request of OTLP, in its JSON encoding: ids in hexadecimal, 64-bit numbers as text.
enum OTLP {
    /// - Parameter resource: what is said of the process; a span with a `service` of its own gets that name alone.
    static func request(_ spans: [Span], service: String, resource: [(String, SpanValue)]) -> JSONValue {
        var names: [String] = []
        var byService: [String: [Span]] = [:]
        for span in spans {
            let name = span.service ?? service
            if byService[name] == nil { names.append(name) }
            byService[name, default: []].append(span)
        }
        return [
            "resourceSpans": .array(
                names.map { name in
                    let common: [(String, SpanValue)] = [
                        ("service.name", .text(name)), ("service.namespace", "bgagent"),
                    ]
                    return [
                        "resource": ["attributes": attributes(common + (name == service ? resource : []))],
                        "scopeSpans": [
                            [
                                "scope": ["name": "bgagent"],
                                "spans": .array((byService[name] ?? []).map(value)),
                            ]
                        ],
                    ]
                })
        ]
    }

    private static func value(_ span: Span) -> JSONValue {
        var members: [String: JSONValue] = [
            "traceId": .string(span.context.traceID), "spanId": .string(span.context.spanID),
            "name": .string(span.name), "kind": .integer(span.kind.rawValue),
            "startTimeUnixNano": .string(String(span.start.nanoseconds)),
            "endTimeUnixNano": .string(String(span.end.nanoseconds)),
        ]
        if let parent = span.parentID { members["parentSpanId"] = .string(parent) }
        var told = span.attributes
        if let error = span.errorType {
            told.append(("error.type", .text(error)))
            members["status"] = ["code": 2]
        }
        members["attributes"] = attributes(told.map { ($0.name, $0.value) })
        return .object(members)
    }

    private static func attributes(_ all: [(String, SpanValue)]) -> JSONValue {
        .array(all.map { ["key": .string($0.0), "value": wrapped($0.1)] })
    }

    private static func wrapped(_ value: SpanValue) -> JSONValue {
        switch value {
        case .text(let text): ["stringValue": .string(String(text.prefix(SpanValue.longestText)))]
        case .integer(let number): ["intValue": .string(String(number))]
        case .number(let number): ["doubleValue": .number(number)]
        case .bool(let flag): ["boolValue": .bool(flag)]
        }
    }
}
