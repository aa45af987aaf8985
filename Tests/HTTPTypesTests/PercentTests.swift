import HTTPTypes
import Testing

@Suite struct PercentTests {
    @Test(arguments: [
        ("", ""), ("plain", "plain"), ("a%20b", "a b"), ("%C3%A4", "ä"), ("a+b", "a+b"), ("%2f%2F", "//"),
        ("100%25", "100%"),
    ])
    func `escapes are resolved`(text: String, expected: String) {
        #expect(Percent.decode(text) == expected)
    }

    @Test(arguments: ["%", "%2", "%zz", "%C3", "%00", "a%ff", "\u{0}"])
    func `broken escapes are told apart`(text: String) {
        #expect(Percent.decode(text) == nil)
        #expect(Percent.decodeQuery("a=\(text)") == nil)
    }

    @Test func `whatever is encoded comes back`() {
        let text = String(String.UnicodeScalarView((1..<0x300).compactMap(Unicode.Scalar.init))) + "日本 🙂"
        let encoded = Percent.encode(text)
        #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x3F && $0 != 0x26 })
        #expect(Percent.decode(encoded) == text)
    }

    @Test func `a query is names and values in order`() throws {
        let items = try #require(Percent.decodeQuery("a=1&b=two+words&a=%26&flag&=x&c=d=e&&"))
        #expect(items.map(\.0) == ["a", "b", "a", "flag", "", "c"])
        #expect(items.map(\.1) == ["1", "two words", "&", "", "x", "d=e"])
        #expect(Percent.encodeQuery([("a b", "c&d"), ("e", "")]) == "a%20b=c%26d&e=")
    }
}
