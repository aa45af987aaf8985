import FoundationEssentials
import HTTPServer
import HTTPTypes
import Lifecycle
import Telemetry
import Testing
import Threads

@Suite struct StopTests {
    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a running handler is answered before the end`(mode: ServerConfig.Mode) async throws {
        let entered = Flag()
        let release = Flag()
        var router = Router()
        router.on("GET", "/slow") { _ in
            entered.raise()
            return .response(.text(release.wait() ? "done" : "never"))
        }
        var config = ServerConfig()
        config.mode = mode
        let server = try Server(config, router, log: .silent)
        let port = server.port
        let running = Task { try await server.run() }
        try await onThread {
            let wire = try Wire(port)
            let idle = try Wire(port)
            try wire.request("GET", "/slow")
            #expect(entered.wait())
            running.cancel()
            // In pool mode the idle one may hang on the thread that the handler holds.
            if mode == .threadPerConnection { #expect(try idle.isClosed()) }
            while (try? Wire(port)) != nil {}
            release.raise()
            let response = try wire.response()
            #expect(response.text == "done")
            #expect(response.headers["Connection"] == "close")
            #expect(try wire.isClosed())
        }
        try await running.value
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `clients that wait get the timeout's answer`(mode: ServerConfig.Mode) async throws {
        let waiting = Flag()
        var router = Router { _, _ in .text("ask again", status: 503) }
        router.on("GET", "/wait") { _ in .later { _ in waiting.raise() } }
        var config = ServerConfig()
        config.mode = mode
        let server = try Server(config, router, log: .silent)
        try await onThread {
            try server.start()
            let wire = try Wire(server.port)
            try wire.request("GET", "/wait")
            #expect(waiting.wait())
            server.stop()
            #expect(try wire.response().text == "ask again")
        }
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `an answer that is being made is waited for`(mode: ServerConfig.Mode) async throws {
        let responders = Lock<[Responder]>([])
        let working = Flag()
        var router = Router { _, _ in .text("ask again", status: 503) }
        router.on("POST", "/work") { _ in
            .later(isWork: true) { responder in
                responders.withLock { $0.append(responder) }
                working.raise()
            }
        }
        var config = ServerConfig()
        config.mode = mode
        let server = try Server(config, router, log: .silent)
        let port = server.port
        let running = Task { try await server.run() }
        try await onThread {
            let wire = try Wire(port)
            try wire.request("POST", "/work")
            #expect(working.wait())
            running.cancel()
            while (try? Wire(port)) != nil {}
            let isFirst = responders.withLock { $0.first?.send(.text("made", status: 201)) }
            #expect(isFirst == true)
            #expect(try wire.response().text == "made")
        }
        try await running.value
    }

    @Test func `a stop in the middle of a rush ends in order, and closes its socket`() async throws {
        func eventDescriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { number in
                (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)"))
                    == "anon_inode:[eventfd]"
            }
        }
        var router = Router()
        router.on("GET", "/") { _ in .response(.text("here")) }
        var config = ServerConfig()
        config.threads = 8
        let before = try eventDescriptors()
        for _ in 0..<60 {
            let server = try Server(config, router, log: .silent)
            let port = server.port
            try server.start()
            let answered = Flag()
            let rush = (0..<3).map { _ in
                Task {
                    try await onThread {
                        // Until nobody listens any more.
                        while let wire = try? Wire(port) {
                            _ = try? wire.exchange("GET", "/")
                            answered.raise()
                        }
                    }
                }
            }
            try await onThread {
                #expect(answered.wait())
                server.stop()
            }
            for client in rush { try await client.value }
        }
        // Other tests have some too; a server that kept its own would have left sixty.
        #expect(try eventDescriptors() < before + 40)
    }

    @Test func `a stream without end is cut after the drain time`() async throws {
        final class Silence: BodyReader {
            struct Cancelled: Error {}
            let cancelled = Flag()
            let entered = Flag()
            func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
                entered.raise()
                _ = cancelled.wait()
                throw Cancelled()
            }
            func close() {}
            func cancel() {
                cancelled.raise()
            }
        }
        let silence = Silence()
        var router = Router()
        router.on("GET", "/") { _ in .stream(status: 200, headers: [:], reader: silence) }
        var config = ServerConfig(mode: .threadPerConnection)
        config.drainTimeout = .milliseconds(100)
        let server = try Server(config, router, log: .silent)
        try await onThread {
            try server.start()
            let wire = try Wire(server.port)
            try wire.request("GET", "/")
            #expect(silence.entered.wait())
            // A reader that is not told would hold it up for ever.
            server.stop()
        }
    }

    @Test func `starting and stopping does no harm in any order`() async throws {
        for round in 0..<20 {
            let server = try Server(ServerConfig(), Router(), log: .silent)
            let task = Task { try await server.run() }
            if round % 2 == 0 { _ = try? await onThread { try Wire(server.port).exchange("GET", "/") } }
            task.cancel()
            try await task.value
            server.stop()
            #expect(throws: ServerError.self) { try server.start() }
        }
        _ = try Server(ServerConfig(), Router(), log: .silent)
    }

    @Test func `a port that is taken is an error`() throws {
        let server = try Server(ServerConfig(), Router(), log: .silent)
        #expect(throws: ServerError.self) {
            try Server(ServerConfig(port: server.port), Router(), log: .silent)
        }
    }
}
