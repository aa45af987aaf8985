import ContainerEngine
import Domain

/// Something that the proxy does not pass on.
struct Refusal: Error, CustomStringConvertible {
    let reason: String

    init(_ reason: String) { self.reason = reason }

    var description: String { "\(EngineError.proxyMark) \(reason)" }
}

/// Reads a document field by field. What nobody has read at the end is refused: a field that is not known here is a
/// field that the engine might know.
struct Fields {
    private let path: String
    private var rest: [String: JSONValue]

    init(_ value: JSONValue?, _ path: String = "") throws {
        guard let members = value?.object else { throw Refusal("\(path.isEmpty ? "the body" : path) is not an object") }
        (self.path, rest) = (path, members)
    }

    /// The name of a field as refusals tell it.
    func name(_ field: String) -> String { path.isEmpty ? field : "\(path).\(field)" }

    /// A field of any form; nil when it is missing.
    mutating func take(_ field: String) -> JSONValue? { rest.removeValue(forKey: field) }

    /// A field that must hold exactly this.
    mutating func require(_ field: String, _ value: JSONValue) throws {
        guard take(field) == value else { throw Refusal("\(name(field)) must be \(value.text)") }
    }

    /// A field that may be missing and otherwise holds exactly this.
    mutating func allow(_ field: String, _ value: JSONValue) throws {
        if let found = take(field), found != value { throw Refusal("\(name(field)) may only be \(value.text)") }
    }

    /// A text that passes the check.
    mutating func text(_ field: String, _ what: String, where isRight: (String) -> Bool) throws -> String {
        guard let text = take(field)?.string, isRight(text) else { throw Refusal("\(name(field)) must be \(what)") }
        return text
    }

    /// A whole number within a range.
    mutating func number(_ field: String, in range: ClosedRange<Int64>) throws -> Int64 {
        guard let number = take(field)?.integer, range.contains(number) else {
            throw Refusal("\(name(field)) must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Texts, each of which passes the check.
    mutating func texts(_ field: String, atMost count: Int, where isRight: (String) -> Bool) throws {
        guard let list = take(field)?.array, list.count <= count,
            list.allSatisfy({ $0.string.map(isRight) == true })
        else { throw Refusal("\(name(field)) must be a list of at most \(count) plain texts") }
    }

    /// The fields of an object below this one.
    mutating func object(_ field: String) throws -> Fields { try Fields(take(field), name(field)) }

    /// Nothing may be left.
    func end() throws {
        if let field = rest.keys.sorted().first { throw Refusal("\(name(field)) is not allowed") }
    }
}
