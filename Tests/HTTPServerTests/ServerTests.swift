import Glibc
import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry
import Testing

@Suite struct ServerTests {
    private static func echo() -> Router {
        var router = Router()
        router.on("GET", "/hello") { request in
            .response(.text("hello \(request.queryValue("name") ?? "nobody") from \(request.remoteAddress)"))
        }
        router.on("POST", "/echo") { request in
            .response(
                Response(
                    status: 201, headers: ["X-Got": request.headers["X-Gave"] ?? ""], body: try request.body.load()))
        }
        return router
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a connection serves many requests`(mode: ServerConfig.Mode) async throws {
        try await withServer(Self.echo(), { $0.mode = mode }) { server in
            let wire = try Wire(server.port)
            for number in 0..<20 {
                let response = try wire.exchange("GET", "/hello?name=n%C3%A4me+\(number)")
                #expect(response.text == "hello näme \(number) from 127.0.0.1")
                let echo = try wire.exchange("POST", "/echo", headers: "X-Gave: x\(number)\r\n", body: "body \(number)")
                #expect(echo.status == 201)
                #expect(echo.headers["x-got"] == "x\(number)")
                #expect(echo.text == "body \(number)")
            }
        }
    }

    @Test func `requests sent in one go are answered in order`() async throws {
        try await withServer(Self.echo()) { server in
            let wire = try Wire(server.port)
            let requests = (0..<10).map { "GET /hello?name=\($0) HTTP/1.1\r\nHost: test\r\n\r\n" }
            try wire.send(requests.joined())
            for number in 0..<10 { #expect(try wire.response().text.hasPrefix("hello \(number) ")) }
        }
    }

    @Test func `HEAD has the headers of GET and no body`() async throws {
        try await withServer(Self.echo()) { server in
            let wire = try Wire(server.port)
            let head = try wire.exchange("HEAD", "/hello")
            #expect(head.headers["Content-Length"] == "27")
            #expect(try wire.exchange("GET", "/hello").text.utf8.count == 27)
        }
    }

    @Test func `a chunked body arrives whole`() async throws {
        try await withServer(Self.echo()) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            try wire.send("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n")
            #expect(try wire.response().text == "hello world")
            #expect(try wire.exchange("GET", "/hello").status == 200)
        }
    }

    @Test func `a client that asks first is told to continue`() async throws {
        try await withServer(Self.echo()) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            #expect(try wire.head().status == 100)
            try wire.send("body")
            #expect(try wire.response().text == "body")
        }
    }

    @Test func `a client that asks first and is refused sends nothing`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 10 }) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
            #expect(try wire.head().status == 413)
        }
    }

    @Test func `an announced body over the limit is refused at once`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 100_000 }) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100001\r\n\r\n")
            #expect(try wire.response().status == 413)
        }
    }

    @Test func `a client that sends a refused body anyway still reads the answer`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 100_000 }) { server in
            for _ in 0..<20 {
                let wire = try Wire(server.port)
                let body = String(repeating: "x", count: 1_000_000)
                #expect(try wire.exchange("POST", "/echo", body: body).status == 413)
            }
        }
    }

    @Test func `a small refused body keeps the connection`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 10 }) { server in
            let wire = try Wire(server.port)
            #expect(try wire.exchange("POST", "/echo", body: "eleven byte").status == 413)
            #expect(try wire.exchange("POST", "/nowhere", body: "body").status == 404)
            #expect(try wire.exchange("POST", "/echo", body: "ten bytes!").text == "ten bytes!")
        }
    }

    @Test func `a chunked body over the limit is refused`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 10 }) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            try wire.send("B\r\neleven byte\r\n0\r\n\r\n")
            #expect(try wire.response().status == 413)
        }
    }

    @Test func `a chunked body without end is cut off`() async throws {
        try await withServer(Self.echo(), { $0.maxBody = 10 }) { server in
            let wire = try Wire(server.port)
            try wire.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = "10000\r\n" + String(repeating: "x", count: 65536) + "\r\n"
            #expect(throws: WireError.self) { for _ in 0..<1000 { try wire.send(chunk) } }
        }
    }

    @Test func `a route may have a body limit of its own`() async throws {
        var router = Router()
        router.on("POST", "/large", maxBody: 20) { .response(.text("\($0.body.count)")) }
        try await withServer(router, { $0.maxBody = 10 }) { server in
            let wire = try Wire(server.port)
            #expect(try wire.exchange("POST", "/large", body: "eleven byte").text == "11")
        }
    }

    @Test func `a handler that throws is answered and logged`() async throws {
        struct Broken: Error {}
        final class Lines: LogSink {
            let all = Lock<[String]>([])
            func write(_ line: [UInt8]) {
                all.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
            }
        }
        let lines = Lines()
        var router = Router()
        router.on("GET", "/broken") { _ in throw Broken() }
        try await withServer(router, log: Logger(service: "test", sink: lines)) { server in
            let wire = try Wire(server.port)
            #expect(try wire.exchange("GET", "/broken").status == 500)
            #expect(try wire.exchange("GET", "/broken").status == 500)
        }
        let all = lines.all.withLock { $0 }
        #expect(all.count == 2)
        #expect(all.allSatisfy { $0.contains("Broken()") && $0.contains("/broken") })
    }

    @Test func `every request is accounted for`() async throws {
        let seen = Condition<[Access]>([])
        try await withServer(Self.echo(), onAccess: { access in seen.update { $0.append(access) } }) { server in
            let wire = try Wire(server.port)
            _ = try wire.exchange("GET", "/hello")
            _ = try wire.exchange("GET", "/nowhere")
            let all = seen.wait(timeout: .seconds(10)) { $0.count == 2 ? $0 : nil } ?? []
            #expect(all.map(\.route) == ["/hello", ""])
            #expect(all.map(\.status) == [200, 404])
            #expect(all.allSatisfy { $0.method == "GET" && $0.seconds >= 0 && $0.seconds < 10 })
        }
    }

    @Test func `a body over the spool limit is a file`() async throws {
        var router = Router()
        router.on("PUT", "/file") { request in
            guard case .file(let file) = request.body else { return .response(.text("in memory")) }
            var block = [UInt8](repeating: 0, count: 65536)
            let isRight = try (0..<(file.count / 65536)).allSatisfy { number in
                let count = try block.withUnsafeMutableBytes { try file.read(into: $0, at: number * 65536) }
                // By C: 50 MB, byte by byte, takes an unoptimised build longer than the client waits.
                let expected = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 65536)
                return count == 65536 && memcmp(block, expected, 65536) == 0
            }
            return .response(.text("\(file.count) \(isRight)"))
        }
        let limits: (inout ServerConfig) -> Void = {
            $0.mode = .threadPerConnection
            $0.maxBody = 1 << 30
            $0.spoolBodiesOver = 1 << 20
        }
        try await withServer(router, limits) { server in
            let wire = try Wire(server.port)
            try wire.send("PUT /file HTTP/1.1\r\nHost: test\r\nContent-Length: \(50 << 20)\r\n\r\n")
            for block in 0..<800 {
                try wire.send([UInt8](repeating: UInt8(truncatingIfNeeded: block), count: 65536))
            }
            #expect(try wire.response().text == "\(50 << 20) true")
            #expect(try wire.exchange("PUT", "/file", body: "small").text == "in memory")
        }
    }

    @Test func `metrics count requests by route`() async throws {
        let metrics = Metrics()
        let record = Access.recorder(metrics)
        let counted = Flag()
        let note: @Sendable (Access) -> Void = { access in
            record(access)
            counted.raise()
        }
        try await withServer(Self.echo(), onAccess: note) { server in
            _ = try Wire(server.port).exchange("GET", "/hello")
            #expect(counted.wait())
        }
        let expected = #"bgagent_http_request_seconds_count{method="GET",route="/hello",status="200"} 1"#
        #expect(metrics.exposition().contains(expected))
    }
}
