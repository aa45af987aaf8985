/// One SQL statement with its values bound apart from its text.
///
/// ```swift
/// let query: Query = "SELECT status FROM tasks WHERE task_id = \(id) AND version = \(version)"
/// ```
/// What is interpolated is sent as a parameter and can never become SQL. The text is the key under which a connection
/// keeps the statement prepared, so keep what varies in values and out of the text.
package struct Query: Sendable {
    /// The text with `$1`, `$2` … where values were interpolated.
    package private(set) var sql = ""
    /// The values' text forms, each ended by a zero byte.
    private(set) var bytes: [UInt8] = []
    private(set) var values: [Value] = []
    /// Set when a value holds a zero byte, which no text of Postgres can.
    private(set) var hasZeroByte = false

    /// Where one value is.
    struct Value: Sendable {
        /// Start of its text in `bytes`; nil is NULL.
        var start: Int?
        let oid: UInt32
        /// Where its `$n` stands in the text, in UTF-8.
        var placeholder: Int
    }

    private init() {}

    /// The text, written by a person; never built from input.
    package init(unescaped sql: String) {
        self.sql = sql
    }

    /// Both texts one after the other, with the values of both; the second one's placeholders count on.
    package static func + (left: Query, right: Query) -> Query {
        var sum = left
        sum.append(right)
        return sum
    }

    package static func += (left: inout Query, right: Query) {
        left.append(right)
    }

    /// Several fragments with `separator` between them: conditions, value lists.
    package static func joined(_ fragments: [Query], by separator: Query) -> Query {
        var sum = Query()
        for (index, fragment) in fragments.enumerated() {
            if index > 0 { sum.append(separator) }
            sum.append(fragment)
        }
        return sum
    }

    private mutating func append(_ other: Query) {
        guard !values.isEmpty, !other.values.isEmpty else {
            let shift = sql.utf8.count
            sql += other.sql
            let byteShift = bytes.count
            bytes += other.bytes
            values += other.values.map { $0.moved(by: shift, bytes: byteShift) }
            hasZeroByte = hasZeroByte || other.hasZeroByte
            return
        }
        let text = Array(other.sql.utf8)
        var copied = 0
        for (index, value) in other.values.enumerated() {
            sql += String(decoding: text[copied..<value.placeholder], as: UTF8.self)
            let start = value.start.map { $0 + bytes.count }
            values.append(Value(start: start, oid: value.oid, placeholder: sql.utf8.count))
            sql += "$\(values.count)"
            copied = value.placeholder + "$\(index + 1)".utf8.count
        }
        sql += String(decoding: text[copied...], as: UTF8.self)
        // The starts above were counted from the end of our own bytes, which grow only here.
        bytes += other.bytes
        hasZeroByte = hasZeroByte || other.hasZeroByte
    }

    private mutating func bind<Bound: PostgresEncodable>(_ value: Bound) {
        let start = bytes.count
        let oid = Bound.postgresType.oid
        let placeholder = sql.utf8.count
        if value.encode(into: &bytes) {
            if bytes[start...].contains(0) { hasZeroByte = true }
            bytes.append(0)
            values.append(Value(start: start, oid: oid, placeholder: placeholder))
        } else {
            bytes.removeSubrange(start...)
            values.append(Value(start: nil, oid: oid, placeholder: placeholder))
        }
        sql += "$\(values.count)"
    }

    /// The values as C texts, valid inside `body` only; nil pointers are NULL.
    func withValues<Result>(
        _ body: (_ texts: [UnsafePointer<CChar>?], _ types: [UInt32]) throws -> Result
    ) rethrows -> Result {
        try bytes.withUnsafeBytes { bytes in
            let base = bytes.bindMemory(to: CChar.self).baseAddress
            return try body(values.map { value in value.start.flatMap { base?.advanced(by: $0) } }, values.map(\.oid))
        }
    }
}

extension Query.Value {
    fileprivate func moved(by shift: Int, bytes: Int) -> Query.Value {
        Query.Value(start: start.map { $0 + bytes }, oid: oid, placeholder: placeholder + shift)
    }
}

extension Query: ExpressibleByStringInterpolation {
    package init(stringLiteral value: String) {
        self.sql = value
    }

    package init(stringInterpolation: StringInterpolation) {
        self = stringInterpolation.query
    }

    /// Collects the text and the values.
    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var query = Query()

        package init(literalCapacity: Int, interpolationCount: Int) {
            query.sql.reserveCapacity(literalCapacity + interpolationCount * 3)
            query.values.reserveCapacity(interpolationCount)
        }

        package mutating func appendLiteral(_ literal: String) {
            query.sql += literal
        }

        /// Binds a value.
        package mutating func appendInterpolation<Bound: PostgresEncodable>(_ value: Bound) {
            query.bind(value)
        }

        /// Binds a value, or NULL when there is none.
        ///
        /// An overload of its own, because the compiler warns about an optional in any other interpolation.
        package mutating func appendInterpolation<Bound: PostgresEncodable>(_ value: Bound?) {
            query.bind(value)
        }

        /// Puts a fragment with its own values in place.
        package mutating func appendInterpolation(_ fragment: Query) {
            query.append(fragment)
        }

        /// Puts SQL in place as it is: only for text the code itself wrote.
        package mutating func appendInterpolation(unescaped sql: String) {
            query.sql += sql
        }

        /// Puts a name in place, quoted.
        package mutating func appendInterpolation(identifier name: String) {
            let quoted = name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
            query.sql += "\"\(quoted)\""
        }
    }
}

extension Query: CustomStringConvertible, CustomReflectable {
    /// The text without any value.
    package var description: String { sql }

    /// Keeps values out of `dump` and of failure messages in tests.
    package var customMirror: Mirror { Mirror(self, children: ["sql": sql, "values": values.count]) }
}
