import Domain
import FoundationEssentials
import Postgres
import Testing

@testable import Gateway

@Suite struct JSONTests {
    @Test func `documents are read as the usual decoder reads them`() throws {
        let documents = [
            "null", "true", " [1, -2, 0, 3.5, 1e3, -0.25E-2, 9223372036854775807, 92233720368547758080] ",
            #"{"a":{"b":[{}],"":""},"text":"ü \u00fc \ud83d\ude00 \"\\\/\b\f\n\r\t"}"#, "\"\"", "[]", "{}", "-0",
        ]
        for document in documents {
            let expected = try JSONText.decode(JSONValue.self, document)
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
            #expect(try JSONText.decode(JSONValue.self, bytes: bytes) == value, "\(bytes)")
        }
    }

    @Test func `what is written is JSON`() throws {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member("text", "\"\\\u{1}\n\u{1F600}/é")
            writer.member("none", String?.none)
            writer.member("number", -7)
            writer.member("truth", true)
            writer.member("money", Money(micros: 423_100))
            writer.member("whole", Money(micros: 5_000_000))
            writer.member("nothing", Money(micros: 0))
            writer.member("raw", json: "[1,2]")
            writer.member("inner") { inner in
                inner.name("list")
                inner.array { list in
                    list.string("a")
                    list.object { _ in }
                    list.raw("3")
                }
            }
        }
        let value = try JSONText.decode(JSONValue.self, bytes: writer.bytes)
        #expect(
            value == [
                "text": "\"\\\u{1}\n\u{1F600}/é", "none": .null, "number": -7, "truth": true, "money": 0.4231,
                "whole": 5, "nothing": 0, "raw": [1, 2], "inner": ["list": ["a", [:], 3]],
            ])
    }

    @Test func `page tokens come back as they were and nothing else does`() {
        let token = PageToken(keys: ["17", "owner/name"])
        #expect(PageToken(token.text)?.keys == ["17", "owner/name"])
        for text in ["", "x", "garbage!", token.text + "A", String(token.text.dropLast()), "MA", "Mgox"] {
            #expect(PageToken(text)?.keys != ["17", "owner/name"], "\(text)")
        }
    }
}
