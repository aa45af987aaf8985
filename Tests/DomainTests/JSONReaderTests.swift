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
}
