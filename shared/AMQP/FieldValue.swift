/// A value in a message's headers or in the arguments of a queue, an exchange or a binding.
package enum FieldValue: Sendable, Hashable {
    /// Text.
    case string(String)
    /// Any whole number; sent in 64 bits.
    case int(Int64)
    /// A floating-point number; sent in 64 bits.
    case double(Double)
    /// True or false.
    case bool(Bool)
    /// Seconds since 1970.
    case timestamp(Int64)
    /// Bytes that are no text.
    case bytes([UInt8])
    /// Named values.
    case table([String: FieldValue])
    /// Values in order.
    case array([FieldValue])
    /// Nothing.
    case null
    /// A kind this module does not speak, described in words; sent as text.
    case unknown(String)

    /// The text, when it is text.
    package var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The number, when it is a whole number or a time.
    package var int: Int64? {
        switch self {
        case .int(let value), .timestamp(let value): value
        default: nil
        }
    }

    /// The truth value, when it is one.
    package var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// An upper bound of the bytes this value takes on the wire.
    var wireSize: Int {
        switch self {
        case .string(let value), .unknown(let value): 5 + value.utf8.count
        case .bytes(let value): 5 + value.count
        case .table(let fields): 5 + Self.wireSize(of: fields)
        case .array(let values): values.reduce(5) { $0 + $1.wireSize }
        case .int, .double, .bool, .timestamp, .null: 9
        }
    }

    /// An upper bound of the bytes a table takes on the wire.
    static func wireSize(of fields: [String: FieldValue]) -> Int {
        fields.reduce(4) { $0 + 1 + $1.key.utf8.count + $1.value.wireSize }
    }
}

extension FieldValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    package init(stringLiteral value: String) {
        self = .string(value)
    }

    package init(integerLiteral value: Int64) {
        self = .int(value)
    }

    package init(booleanLiteral value: Bool) {
        self = .bool(value)
    }
}
