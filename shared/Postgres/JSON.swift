import Domain

/// A JSON document as its text, bound as `jsonb` and read from `json` and `jsonb` without being parsed.
package struct JSON: Sendable, Hashable, PostgresEncodable, PostgresDecodable {
    /// The document. The server refuses what is not JSON (22P02).
    package let text: String

    package static var postgresType: PostgresType { .jsonb }

    /// Takes a text that is JSON already.
    package init(_ text: String) {
        self.text = text
    }

    /// Encodes a value, keys sorted.
    package init(encoding value: some Encodable) throws {
        text = try JSONText.encode(value)
    }

    /// Decodes the document.
    package func decode<Value: Decodable>(as type: Value.Type = Value.self) throws -> Value {
        try JSONText.decode(type, text)
    }

    package func encode(into text: inout [UInt8]) -> Bool {
        text.append(contentsOf: self.text.utf8)
        return true
    }

    package init(cell: Cell) throws {
        text = try cell.text()
    }
}
