import Domain
import FoundationEssentials
import Postgres
import Testing

@testable import Gateway

@Suite struct JSONTests {
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

    @Test func `whatever its keys, a page token is read as it was written, and no other text as it`() {
        let letters = Array("0aZ/ .-_é日\u{1F600}\"\\\t")
        for _ in 0..<500 {
            let keys = (0..<Int.random(in: 1...4)).map { _ in
                String((0..<Int.random(in: 0...20)).map { _ in letters[Int.random(in: 0..<letters.count)] })
            }
            let text = PageToken(keys: keys).text
            #expect(PageToken(text)?.keys == keys, "\(keys)")
            var broken = Array(text)
            let place = Int.random(in: 0..<broken.count)
            broken[place] = broken[place] == "A" ? "B" : "A"
            #expect(PageToken(String(broken))?.keys != keys, "\(keys) at \(place)")
        }
    }

    @Test func `page tokens come back as they were and nothing else does`() {
        let token = PageToken(keys: ["17", "owner/name"])
        #expect(PageToken(token.text)?.keys == ["17", "owner/name"])
        for text in ["", "x", "garbage!", token.text + "A", String(token.text.dropLast()), "MA", "Mgox"] {
            #expect(PageToken(text)?.keys != ["17", "owner/name"], "\(text)")
        }
    }
}
