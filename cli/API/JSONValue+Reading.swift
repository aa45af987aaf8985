import Domain
import FoundationEssentials

/// Reading answers leniently: a field that a newer gateway adds reaches `--output json` untouched, and one that an
/// older gateway lacks is only a dash.
extension JSONValue {
    /// - Throws: `DecodingError` when the bytes are no JSON.
    package init(parsing bytes: [UInt8]) throws {
        self = try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
    }

    /// The member of that name; nil when it is missing or null, or this is no object.
    package func member(_ name: String) -> JSONValue? {
        guard let value = self[name], !value.isNull else { return nil }
        return value
    }

    /// The member as text; nil unless it is a string that is not empty.
    package func text(_ name: String) -> String? {
        guard let text = member(name)?.string, !text.isEmpty else { return nil }
        return text
    }

    /// The member as a whole number, also when it was written as text or with a point.
    package func whole(_ name: String) -> Int? {
        switch member(name) {
        case .integer(let number): Int(number)
        case .number(let number): Int(exactly: number.rounded())
        case .string(let text): Int(text)
        default: nil
        }
    }

    /// The member as a number, also when it was written as text, as exact amounts often are.
    package func amount(_ name: String) -> Double? {
        guard let value = member(name) else { return nil }
        return value.number ?? value.string.flatMap { Double($0) }
    }

    /// One line for people: strings bare, anything else as JSON. Not yet safe for a terminal.
    package var plain: String {
        switch self {
        case .string(let text): text
        case .null: "–"
        default: encoded()
        }
    }

    /// The value as JSON text, keys in order, safe to print on a terminal.
    /// - Parameter pretty: over several lines; otherwise one line, as NDJSON wants it.
    package func encoded(pretty: Bool = false) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(self) else { return "null" }
        return Text.escapedJSON(String(decoding: data, as: UTF8.self))
    }

    /// An object without the members that are nil.
    package static func members(_ members: [String: JSONValue?]) -> JSONValue {
        .object(members.compactMapValues { $0 })
    }
}
