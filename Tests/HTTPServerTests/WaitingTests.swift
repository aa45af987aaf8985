import HTTPServer
import HTTPTypes
import Lifecycle
import Testing

/// Responders that handlers have put aside, in order.
private final class Waiting: Sendable {
    private let all = Condition<[Responder]>([])

    func add(_ responder: Responder) {
        all.update { $0.append(responder) }
    }

    /// The first `count` of them, once they are there.
    func take(_ count: Int = 1) -> [Responder] {
        all.wait(timeout: .seconds(20)) { all in
            if all.count < count { return nil }
            defer { all.removeFirst(count) }
            return Array(all[..<count])
        } ?? []
    }
}

@Suite struct WaitingTests {
    private let waiting = Waiting()

    private func router(timeout: Duration? = nil) -> Router {
        let waiting = waiting
        var router = Router { failure, _ in
            if case .laterTimedOut = failure { return .text("nothing new") }
            return .text("", status: 500)
        }
        router.on("GET", "/wait") { _ in .later(timeout: timeout) { waiting.add($0) } }
        router.on("GET", "/at-once") { _ in .later { $0.send(.text("here")) } }
        return router
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `an answer comes later from another thread`(mode: ServerConfig.Mode) async throws {
        try await withServer(router(), { $0.mode = mode }) { server in
            let wire = try Wire(server.port)
            for number in 0..<50 {
                try wire.request("GET", "/wait")
                let responder = try #require(waiting.take().first)
                #expect(!responder.isOver)
                #expect(responder.send(.text("answer \(number)")))
                #expect(!responder.send(.text("second answer")))
                #expect(responder.isOver)
                #expect(try wire.response().text == "answer \(number)")
                #expect(try wire.exchange("GET", "/at-once").text == "here")
            }
        }
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a late answer that never comes is the owner's timeout`(mode: ServerConfig.Mode) async throws {
        let abandoned = Flag()
        try await withServer(router(timeout: .milliseconds(50)), { $0.mode = mode }) { server in
            let wire = try Wire(server.port)
            try wire.request("GET", "/wait")
            let responder = try #require(waiting.take().first)
            responder.whenAbandoned { abandoned.raise() }
            #expect(try wire.response().text == "nothing new")
            #expect(abandoned.wait())
            #expect(responder.isOver)
            #expect(!responder.send(.text("too late")))
            #expect(try wire.exchange("GET", "/at-once").text == "here")
        }
    }

    @Test(arguments: [ServerConfig.Mode.pool, .threadPerConnection])
    func `a client that leaves is noticed at once`(mode: ServerConfig.Mode) async throws {
        let abandoned = Flag()
        let ended = Condition<[Access]>([])
        try await withServer(router(), onAccess: { access in ended.update { $0.append(access) } }, { $0.mode = mode }) {
            server in
            do {
                let wire = try Wire(server.port)
                try wire.request("GET", "/wait")
                let responder = try #require(waiting.take().first)
                responder.whenAbandoned { abandoned.raise() }
            }
            #expect(abandoned.wait())
            let access = ended.wait(timeout: .seconds(10)) { $0.first }
            #expect(access?.status == 499)
        }
    }

    @Test func `a thousand clients wait at once and are answered`() async throws {
        try await withServer(router()) { server in
            let wires = try (0..<1000).map { _ in try Wire(server.port) }
            for wire in wires { try wire.request("GET", "/wait") }
            let responders = waiting.take(1000)
            #expect(responders.count == 1000)
            #expect(server.connections == 1000)
            for responder in responders { responder.send(.text("all at once")) }
            for wire in wires { #expect(try wire.response().text == "all at once") }
        }
    }

    @Test func `clients leave and time out in any order`() async throws {
        try await withServer(router(timeout: .milliseconds(200)), { $0.laterTimeout = .milliseconds(200) }) { server in
            for round in 0..<5 {
                var wires = try (0..<100).map { _ in try Wire(server.port) }
                for wire in wires { try wire.request("GET", "/wait") }
                let responders = waiting.take(100)
                for (index, responder) in responders.enumerated() where index % 3 == round % 3 {
                    responder.send(.text("answer"))
                }
                wires.removeSubrange(50...)
                for wire in wires { #expect(["answer", "nothing new"].contains(try wire.response().text)) }
            }
            #expect(try Wire(server.port).exchange("GET", "/at-once").text == "here")
        }
    }
}
