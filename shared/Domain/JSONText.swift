import FoundationEssentials

/// JSON as text, with sorted keys, so that the same value is always the same bytes (hashes and golden files depend on it).
package enum JSONText {
    /// Encodes `value`; keys sorted, slashes as they are.
    package static func encode(_ value: some Encodable) throws -> String {
        String(decoding: try bytes(value), as: UTF8.self)
    }

    package static func bytes(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    /// The same for a value of any shape, which is what most messages are written from.
    package static func encode(_ value: JSONValue) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256)
        JSONWriter.append(value, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A text in quotes, behind what was written before.
    package static func append(quoted text: String, to bytes: inout [UInt8]) {
        JSONWriter.append(quoted: text, to: &bytes)
    }

    package static func decode<T: Decodable>(_ type: T.Type = T.self, _ text: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    /// The same for a value of any shape, which is what most messages are read as. What only the usual decoder takes (a
    /// name that stands twice) is left to it: other systems write such texts.
    package static func decode(_ type: JSONValue.Type, _ text: String) throws -> JSONValue {
        if let value = try? JSONReader.read(text, maxDepth: maxDepth) { return value }
        return try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    package static func decode(_ type: JSONValue.Type, bytes: some Sequence<UInt8>) throws -> JSONValue {
        let bytes = Array(bytes)
        if let value = try? JSONReader.read(bytes, maxDepth: maxDepth) { return value }
        return try JSONDecoder().decode(type, from: Data(bytes))
    }

    /// As deep as the usual decoder goes.
    private static let maxDepth = 512

    package static func decode<T: Decodable>(_ type: T.Type = T.self, bytes: some Sequence<UInt8>) throws -> T {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}

extension JSONValue {
    /// The document as text with sorted keys. A value of this type can always be written.
    package var text: String { JSONText.encode(self) }
}
