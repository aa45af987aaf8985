import Domain
import FoundationEssentials
import Testing

@Suite struct JSONReaderTests {
    /// What Foundation's decoder reads.
    private func usual(_ bytes: some Sequence<UInt8>) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
    }

    @Test func `documents are read as the usual decoder reads them`() throws {
        let documents = [
            "null", "true", " [1, -2, 0, 3.5, 1e3, -0.25E-2, 9223372036854775807, 92233720368547758080] ",
            #"{"a":{"b":[{}],"":""},"text":"ü \u00fc \ud83d\ude00 \"\\\/\b\f\n\r\t"}"#, "\"\"", "[]", "{}", "-0",
        ]
        for document in documents {
            let expected = try usual(document.utf8)
            #expect(try JSONReader.read(Array(document.utf8)) == expected, "\(document)")
        }
    }

    @Test func `broken documents say where`() {
        let documents: [(String, line: Int, column: Int)] = [
            ("", 1, 1), ("{", 1, 2), ("[1,]", 1, 4), ("{\"a\" 1}", 1, 6), ("{\"a\":1,}", 1, 8), ("tru", 1, 1),
            ("[1\n,\n 2 3]", 3, 4), ("\"a", 1, 3), ("\"\t\"", 1, 2), ("\"\\x\"", 1, 3), ("\"\\ud800\"", 1, 8),
            ("01", 1, 3), ("1.", 1, 3), ("-", 1, 2), ("1e999", 1, 6), ("{\"a\":1,\"a\":2}", 1, 8), ("1 2", 1, 3),
            ("nul", 1, 1), ("+1", 1, 1), ("'a'", 1, 1), ("{a:1}", 1, 2),
        ]
        for (document, line, column) in documents {
            do {
                _ = try JSONReader.read(Array(document.utf8))
                Issue.record("\(document) was read")
            } catch {
                #expect(error.line == line, "\(document): \(error)")
                #expect(error.column == column, "\(document): \(error)")
            }
        }
        #expect(throws: MalformedJSON.self) { try JSONReader.read([UInt8(ascii: "\""), 0xFF, UInt8(ascii: "\"")]) }
    }

    @Test func `random bytes are read or refused, never worse`() throws {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("{}[]\",:\\u0019eE+-. \ntfn".utf8) + [0xC3, 0xBC, 0xFF, 0x00]
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0..<24, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            guard let value = try? JSONReader.read(bytes) else { continue }
            #expect(try usual(bytes) == value, "\(bytes)")
        }
    }

    @Test func `a name that stands twice is left to the usual decoder`() throws {
        #expect(try JSONText.decode(JSONValue.self, #"{"a":1,"b":2,"a":1}"#) == ["a": 1, "b": 2])
    }

    @Test func `documents are read as deep as the usual decoder reads them`() throws {
        let deep = String(repeating: "[", count: 300) + String(repeating: "]", count: 300)
        #expect(try JSONText.decode(JSONValue.self, deep) == usual(deep.utf8))
        #expect(throws: MalformedJSON.self) { try JSONReader.read(Array(deep.utf8)) }
    }

    /// The bytes of the usual encoder: what was hashed yesterday hashes the same today.
    private func usualText(_ value: JSONValue) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    private func randomText(_ generator: inout some RandomNumberGenerator) -> String {
        let pieces = [
            "a", "Z", "0", " ", "/", "\"", "\\", "\n", "\r", "\t", "\u{8}", "\u{c}", "\u{0}", "\u{1f}", "\u{7f}", "é",
            "e\u{301}", "\u{2028}", "👩‍👩‍👧", "漢",
        ]
        let count = Int.random(in: 0..<6, using: &generator)
        return (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
    }

    private func randomValue(_ depth: Int, _ generator: inout some RandomNumberGenerator) -> JSONValue {
        switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &generator) {
        case 0: return .null
        case 1: return .bool(.random(using: &generator))
        case 2: return .integer(.random(in: .min ... .max, using: &generator))
        case 3: return .number(Double(Int.random(in: -1_000_000...1_000_000, using: &generator)) / 64)
        case 4: return .number(Double(bitPattern: .random(in: 0...0x7FEF_FFFF_FFFF_FFFF, using: &generator)))
        case 5: return .string(randomText(&generator))
        case 6:
            return .array(
                (0..<Int.random(in: 0..<4, using: &generator)).map { _ in randomValue(depth - 1, &generator) })
        default:
            let members = (0..<Int.random(in: 0..<5, using: &generator)).map { _ in
                (randomText(&generator), randomValue(depth - 1, &generator))
            }
            return .object(Dictionary(members, uniquingKeysWith: { _, last in last }))
        }
    }

    @Test func `values are written byte for byte as the usual encoder writes them`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<5_000 {
            let value = randomValue(4, &generator)
            let text = value.text
            try #require(try text == usualText(value))
            try #require(try usual(text.utf8) == usual(usualText(value).utf8))
        }
        for number in [
            0.0, -0.0, 1e15, 1e16, 1e17, 1e21, .leastNonzeroMagnitude, .leastNormalMagnitude, 123456789012345680, 0.1,
            100, -2.5e-7,
        ] {
            #expect(try JSONValue.number(number).text == usualText(.number(number)))
        }
    }
}
