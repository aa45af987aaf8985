/// The server's number for a type, and for the array of it.
package struct PostgresType: Sendable {
    let oid: UInt32
    let arrayOID: UInt32

    /// Numbers as in `pg_type`; 0 lets the server infer the type from where the value stands.
    package init(oid: UInt32, arrayOID: UInt32) {
        self.oid = oid
        self.arrayOID = arrayOID
    }

    /// Text whose place decides what it is: text, an enum, an interval, an address …
    package static let inferred = PostgresType(oid: 0, arrayOID: 1009)
    package static let bool = PostgresType(oid: 16, arrayOID: 1000)
    package static let bytea = PostgresType(oid: 17, arrayOID: 1001)
    package static let int8 = PostgresType(oid: 20, arrayOID: 1016)
    package static let int4 = PostgresType(oid: 23, arrayOID: 1007)
    package static let float8 = PostgresType(oid: 701, arrayOID: 1022)
    package static let timestamptz = PostgresType(oid: 1184, arrayOID: 1185)
    package static let numeric = PostgresType(oid: 1700, arrayOID: 1231)
    package static let jsonb = PostgresType(oid: 3802, arrayOID: 3807)
}

/// A value that can be bound to a statement.
package protocol PostgresEncodable: Sendable {
    /// What the server takes it for.
    static var postgresType: PostgresType { get }

    /// Appends the value's text form, or nothing and returns false when it is NULL.
    func encode(into text: inout [UInt8]) -> Bool
}

/// A value that can be read from a column.
package protocol PostgresDecodable {
    /// Reads the text form. Throws when it does not fit, NULL included.
    init(cell: Cell) throws
}

/// One field of a row while it is read; valid only inside `PostgresDecodable.init(cell:)`, so never keep it.
package struct Cell {
    let bytes: UnsafeBufferPointer<UInt8>?
    let result: ResultHandle
    let index: Int32

    /// True when the field is NULL.
    package var isNull: Bool { bytes == nil }

    /// The text form.
    package func text() throws -> String {
        String(decoding: try content(), as: UTF8.self)
    }

    /// The column's name, for errors.
    var column: String { result.name(of: Int(index)) }

    /// The text form's bytes.
    func content() throws -> UnsafeBufferPointer<UInt8> {
        guard let bytes else { throw PostgresError(.decoding, "column \(column) is NULL") }
        return bytes
    }

    /// The error for a text that is not of the type; it names the column and the type, not the value.
    func mismatch<Value>(_ type: Value.Type) -> PostgresError {
        PostgresError(.decoding, "column \(column) does not hold \(type)")
    }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    package static var postgresType: PostgresType { Wrapped.postgresType }

    package func encode(into text: inout [UInt8]) -> Bool {
        self?.encode(into: &text) ?? false
    }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    package init(cell: Cell) throws {
        self = cell.isNull ? nil : try Wrapped(cell: cell)
    }
}

/// An enum or id of text binds and reads as its raw value once it declares the conformance.
extension PostgresEncodable where Self: RawRepresentable, RawValue: PostgresEncodable {
    package static var postgresType: PostgresType { RawValue.postgresType }

    package func encode(into text: inout [UInt8]) -> Bool {
        rawValue.encode(into: &text)
    }
}

extension PostgresDecodable where Self: RawRepresentable, RawValue: PostgresDecodable {
    package init(cell: Cell) throws {
        guard let value = Self(rawValue: try RawValue(cell: cell)) else { throw cell.mismatch(Self.self) }
        self = value
    }
}
