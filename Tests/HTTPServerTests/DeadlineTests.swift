import HTTPServer
import HTTPTypes
import Lifecycle
import Testing

@Suite struct DeadlineTests {
    private static func router() -> Router {
        var router = Router()
        router.on("GET", "/") { _ in .response(.text("root")) }
        router.on("POST", "/") { .response(.text("\($0.body.count)")) }
        return router
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection], ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: te"])
    func `a head that does not come is not waited for`(mode: ServerConfig.Mode, part: String) async throws {
        let limits: (inout ServerConfig) -> Void = {
            $0.mode = mode
            $0.headTimeout = .milliseconds(60)
        }
        try await withServer(Self.router(), limits) { server in
            let wire = try Wire(server.port)
            try wire.send(part)
            #expect(try wire.isClosed())
        }
    }

    @Test func `a head that drips is cut off all the same`() async throws {
        try await withServer(Self.router(), { $0.headTimeout = .milliseconds(100) }) { server in
            let wire = try Wire(server.port)
            try wire.send("GET / HTTP/1.1\r\n")
            // Slow enough to stay far below the size that a head may have.
            var drips = 0
            while drips < 500, !wire.isReadable(within: .milliseconds(10)) {
                try wire.send("X: 1\r\n")
                drips += 1
            }
            #expect(drips < 500)
            #expect(try wire.isClosed())
        }
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a body that does not come is not waited for`(mode: ServerConfig.Mode) async throws {
        let limits: (inout ServerConfig) -> Void = {
            $0.mode = mode
            $0.bodyTimeout = .milliseconds(60)
        }
        try await withServer(Self.router(), limits) { server in
            let wire = try Wire(server.port)
            try wire.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
            #expect(try wire.isClosed())
        }
    }

    @Test func `an idle connection is closed`() async throws {
        try await withServer(Self.router(), { $0.idleTimeout = .milliseconds(60) }) { server in
            let wire = try Wire(server.port)
            #expect(try wire.exchange("GET", "/").text == "root")
            #expect(try wire.isClosed())
        }
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a handler that takes longer than all deadlines is still answered`(mode: ServerConfig.Mode) async throws {
        let release = Flag()
        let entered = Flag()
        var router = Self.router()
        router.on("GET", "/slow") { _ in
            entered.raise()
            return .response(.text(release.wait() ? "slow" : "never"))
        }
        let limits: (inout ServerConfig) -> Void = {
            $0.mode = mode
            $0.bodyTimeout = .milliseconds(50)
            $0.idleTimeout = .milliseconds(50)
        }
        try await withServer(router, limits) { server in
            let slow = try Wire(server.port)
            try slow.request("GET", "/slow")
            #expect(entered.wait())
            // Another connection lives and dies by those deadlines meanwhile.
            let wire = try Wire(server.port)
            #expect(try wire.exchange("GET", "/").text == "root")
            #expect(try wire.isClosed())
            release.raise()
            #expect(try slow.response().text == "slow")
        }
    }

    @Test func `a client that takes nothing loses the connection`() async throws {
        final class Endless: BodyReader {
            let closed = Flag()
            func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
                buffer.count
            }
            func close() {
                closed.raise()
            }
        }
        let reader = Endless()
        var router = Router()
        router.on("GET", "/") { _ in .stream(status: 200, headers: [:], reader: reader) }
        let limits: (inout ServerConfig) -> Void = {
            $0.mode = .threadPerConnection
            $0.writeTimeout = .milliseconds(500)
        }
        try await withServer(router, limits) { server in
            let wire = try Wire(server.port, receiveBuffer: 4096)
            try wire.request("GET", "/")
            #expect(try wire.head().status == 200)
            #expect(reader.closed.wait())
        }
    }
}
