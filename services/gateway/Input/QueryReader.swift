import Domain
import HTTPTypes

/// Reads the parameters of a query under the rules of `FieldReader`: all problems at once, nothing unknown, and what
/// is read is what the description lists.
struct QueryReader {
    struct Parameter: Sendable {
        let name: String
        let schema: JSONValue
        let purpose: String
    }

    /// What was read, when it is to be described.
    private(set) var parameters: [Parameter] = []
    private var names: [String] = []
    private let isDescribing: Bool
    private let items: [(String, String)]
    private var problems: [String] = []

    init(_ items: [(String, String)], isDescribing: Bool = false) {
        self.items = items
        self.isDescribing = isDescribing
    }

    mutating func finish() throws {
        var seen: Set<String> = []
        for (name, _) in items {
            if !names.contains(name) {
                problems.append("\(FieldReader.quoted(name)) is not a known query parameter")
            } else if !seen.insert(name).inserted {
                problems.append("\(name) stands twice in the query")
            }
        }
        guard problems.isEmpty else { throw APIError.invalid(problems.joined(separator: "; ")) }
    }

    mutating func reject(_ problem: String) { problems.append(problem) }

    mutating func integer(_ name: String, default fallback: Int, in range: ClosedRange<Int>, _ purpose: String) -> Int {
        value(
            name,
            [
                "type": "integer", "minimum": JSONValue(range.lowerBound), "maximum": JSONValue(range.upperBound),
                "default": JSONValue(fallback),
            ],
            purpose, "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
        ) {
            Int($0).flatMap { range.contains($0) ? $0 : nil }
        } ?? fallback
    }

    /// `1` or `true`, `0` or `false`.
    mutating func flag(_ name: String, _ purpose: String) -> Bool {
        value(name, ["type": "string", "enum": ["1", "true", "0", "false"]], purpose, "must be 1 or 0") {
            ["1": true, "true": true, "0": false, "false": false][$0]
        } ?? false
    }

    /// A parameter with a reading of its own; nil when it is missing or wrong.
    mutating func value<Value>(
        _ name: String, _ schema: @autoclosure () -> JSONValue, _ purpose: String, _ problem: @autoclosure () -> String,
        _ read: (String) -> Value?
    ) -> Value? {
        names.append(name)
        if isDescribing { parameters.append(Parameter(name: name, schema: schema(), purpose: purpose)) }
        guard let text = items.first(where: { $0.0 == name })?.1 else { return nil }
        if let value = read(text) { return value }
        problems.append("\(name) \(problem())")
        return nil
    }

    /// The opaque token of the page before.
    mutating func cursor<Value>(_ purpose: String, _ read: (PageToken) -> Value?) -> Value? {
        value("next_token", ["type": "string"], purpose, "is no token of an earlier page") { text in
            PageToken(text).flatMap(read)
        }
    }
}
