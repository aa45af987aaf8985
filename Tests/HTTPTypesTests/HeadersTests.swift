import HTTPTypes
import Testing

@Suite struct HeadersTests {
    @Test func `names compare without regard to case`() {
        var headers: Headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("set-cookie", "b")]
        #expect(headers["content-type"] == "text/plain")
        #expect(headers["CONTENT-TYPE"] == "text/plain")
        #expect(headers["Content-Typ"] == nil)
        #expect(headers.values(of: "SET-COOKIE") == ["a", "b"])
        headers["set-COOKIE"] = "c"
        #expect(headers.map(\.name) == ["Content-Type", "Set-Cookie"])
        #expect(headers["Set-Cookie"] == "c")
        headers["content-type"] = nil
        headers["X-New"] = "1"
        #expect(headers.map(\.value) == ["c", "1"])
    }

    @Test func `a description never shows a value`() {
        let headers: Headers = ["Authorization": "Bearer secret"]
        let request = Request(method: "GET", target: "/", headers: headers)
        #expect("\(headers)" == "[Authorization]")
        #expect(!"\(request)".contains("secret"))
        #expect(!String(reflecting: headers).contains("secret"))
    }
}
