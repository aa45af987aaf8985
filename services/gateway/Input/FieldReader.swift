import Domain

/// What a PATCH says about one field.
enum Change<Value: Sendable>: Sendable {
    /// The field is missing.
    case keep
    /// The field is null.
    case clear
    case set(Value)

    var value: Value? {
        if case .set(let value) = self { value } else { nil }
    }
}

/// Reads the fields of a body one by one, notes everything that is wrong with them, and in the end refuses whatever it
/// was not asked for. What was asked for is also what the API's description says of the body, so the two cannot differ.
struct FieldReader {
    /// A field as the description shows it.
    struct Field: Sendable {
        let name: String
        /// Its JSON schema.
        let schema: JSONValue
        let isRequired: Bool
    }

    private(set) var fields: [Field] = []
    private var members: [String: JSONValue]
    private var problems: [String] = []
    private var unsupported: [String] = []
    private let isPatch: Bool

    /// - Parameter isPatch: null clears a field; otherwise it counts as missing.
    init(_ body: JSONValue, isPatch: Bool = false) {
        self.isPatch = isPatch
        if let members = body.object {
            self.members = members
        } else {
            members = [:]
            problems.append("the body must be a JSON object")
        }
    }

    /// Throws all problems at once. A field that the contract knows and nothing reads yet is told only when the rest
    /// is right.
    mutating func finish() throws {
        let unknown = members.keys.filter { name in !fields.contains { $0.name == name } }.sorted()
        problems += unknown.map { "\(Self.quoted($0)) is not a known field" }
        guard problems.isEmpty else { throw APIError.invalid(problems.joined(separator: "; ")) }
        guard unsupported.isEmpty else { throw APIError.notSupportedYet(unsupported) }
    }

    /// Notes a problem that shows only when several fields are seen together.
    mutating func reject(_ problem: String) { problems.append(problem) }

    /// Notes a value that the contract knows and this version does not do: 422 when nothing else is wrong.
    mutating func refuse(_ what: String) { unsupported.append(what) }

    /// Fields of the contract that this version does not read: naming one is refused, not ignored.
    mutating func notYet(_ names: String...) {
        for name in names {
            register(name, ["description": "not supported yet: refused with 422"])
            if let value = members[name], !value.isNull, value != false { unsupported.append(name) }
        }
    }

    // MARK: - Kinds of fields

    /// A text. Zero bytes, which no database text can hold, are refused.
    mutating func text(
        _ name: String, _ purpose: String, length: ClosedRange<Int> = 1...200, isRequired: Bool = false,
        form: String? = nil, where isGood: (String) -> Bool = { _ in true }
    ) -> Change<String> {
        let schema: JSONValue = [
            "type": "string", "minLength": JSONValue(length.lowerBound), "maxLength": JSONValue(length.upperBound),
            "description": .string(form.map { "\(purpose): \($0)" } ?? purpose),
        ]
        return read(name, schema, isRequired: isRequired) { value in
            guard let text = value.string else { return .problem("must be a text") }
            let count = text.unicodeScalars.count
            if length.lowerBound > 0, text.allSatisfy(\.isWhitespace) { return .problem("must not be empty") }
            guard length.contains(count) else {
                return .problem(
                    count < length.lowerBound
                        ? "must have at least \(length.lowerBound) characters"
                        : "must have at most \(length.upperBound) characters, not \(count)")
            }
            guard !text.unicodeScalars.contains("\0") else { return .problem("must not hold a zero character") }
            guard isGood(text) else { return .problem("must be \(form ?? purpose)") }
            return .value(text)
        }
    }

    mutating func integer(
        _ name: String, _ purpose: String, in range: ClosedRange<Int>, isRequired: Bool = false
    ) -> Change<Int> {
        let schema: JSONValue = [
            "type": "integer", "minimum": JSONValue(range.lowerBound), "maximum": JSONValue(range.upperBound),
            "description": .string(purpose),
        ]
        return read(name, schema, isRequired: isRequired) { value in
            let whole = value.integer ?? value.number.flatMap { Int64(exactly: $0) }
            guard let whole, let number = Int(exactly: whole), range.contains(number) else {
                return .problem("must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return .value(number)
        }
    }

    /// An amount of money, exact to a millionth.
    mutating func dollars(_ name: String, _ purpose: String, in range: ClosedRange<Double>) -> Change<USD> {
        let schema: JSONValue = [
            "type": "number", "minimum": .number(range.lowerBound), "maximum": .number(range.upperBound),
            "description": .string(purpose),
        ]
        return read(name, schema, isRequired: false) { value in
            guard let number = value.number, range.contains(number), let amount = USD(dollars: number) else {
                return .problem("must be a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return .value(amount)
        }
    }

    mutating func boolean(_ name: String, _ purpose: String) -> Change<Bool> {
        read(name, ["type": "boolean", "description": .string(purpose)], isRequired: false) { value in
            value.bool.map { .value($0) } ?? .problem("must be true or false")
        }
    }

    mutating func choice<Choice: RawRepresentable<String> & CaseIterable & Sendable>(
        _ name: String, _ purpose: String, isRequired: Bool = false, as type: Choice.Type = Choice.self
    ) -> Change<Choice> {
        let words = Choice.allCases.map(\.rawValue)
        let schema: JSONValue = [
            "type": "string", "enum": .array(words.map { .string($0) }), "description": .string(purpose),
        ]
        return read(name, schema, isRequired: isRequired) { value in
            value.string.flatMap { Choice(rawValue: $0) }.map { .value($0) }
                ?? .problem("must be one of \(words.joined(separator: ", "))")
        }
    }

    mutating func repo(_ name: String, _ purpose: String, isRequired: Bool = true) -> Change<RepoName> {
        let schema: JSONValue = [
            "type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$",
            "description": .string(purpose),
        ]
        return read(name, schema, isRequired: isRequired) { value in
            value.string.flatMap { RepoName(rawValue: $0) }.map { .value($0) } ?? .problem("must be OWNER/NAME")
        }
    }

    /// Any value with a check of its own, which says what is wrong.
    mutating func value<Value: Sendable>(
        _ name: String, schema: JSONValue, _ check: (JSONValue) -> Checked<Value>
    ) -> Change<Value> {
        read(name, schema, isRequired: false, check)
    }

    // MARK: - How it is done

    enum Checked<Value> {
        case value(Value)
        /// In words that follow the field's name; with a dot in front it names a part of the field.
        case problem(String)
    }

    private mutating func read<Value: Sendable>(
        _ name: String, _ schema: JSONValue, isRequired: Bool, _ check: (JSONValue) -> Checked<Value>
    ) -> Change<Value> {
        register(name, schema, isRequired: isRequired)
        guard let value = members[name], isPatch || !value.isNull else {
            if isRequired { problems.append("\(name) is missing") }
            return .keep
        }
        if value.isNull { return .clear }
        switch check(value) {
        case .value(let value): return .set(value)
        case .problem(let problem):
            problems.append(problem.hasPrefix(".") ? name + problem : "\(name) \(problem)")
            return .keep
        }
    }

    private mutating func register(_ name: String, _ schema: JSONValue, isRequired: Bool = false) {
        fields.append(Field(name: name, schema: schema, isRequired: isRequired))
    }

    /// A name from outside, short and without what could disturb a log or a terminal.
    static func quoted(_ name: String) -> String {
        let plain = name.unicodeScalars.prefix(40).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : String($0) }
        return "'\(plain.joined())'"
    }
}
