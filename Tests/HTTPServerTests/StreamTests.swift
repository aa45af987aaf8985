import HTTPServer
import HTTPTypes
import Lifecycle
import Testing

/// Gives out what the test puts in.
private final class Source: BodyReader {
    struct Broken: Error {}
    private let parts = BlockingQueue<Result<[UInt8], Broken>>()
    let closed = Flag()

    func put(_ text: String) {
        parts.put(.success(Array(text.utf8)))
    }

    func fail() {
        parts.put(.failure(Broken()))
    }

    func end() {
        parts.close()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard case .item(let result) = parts.take() else { return 0 }
        let part = try result.get()
        buffer.copyBytes(from: part)
        return part.count
    }

    func close() {
        closed.raise()
    }

    func cancel() {
        fail()
    }
}

@Suite struct StreamTests {
    private func withStream(
        _ source: Source, headers: Headers = [:], _ body: @escaping @Sendable (Wire, Server) throws -> Void
    ) async throws {
        var router = Router()
        router.on("GET", "/stream") { _ in .stream(status: 200, headers: headers, reader: source) }
        router.on("GET", "/") { _ in .response(.text("root")) }
        try await withServer(router, { $0.mode = .threadPerConnection }) { server in
            try body(try Wire(server.port), server)
        }
    }

    @Test func `parts arrive as they are made`() async throws {
        let source = Source()
        try await withStream(source, headers: ["Content-Type": "text/event-stream"]) { wire, _ in
            try wire.request("GET", "/stream")
            source.put("data: 0\n\n")
            #expect(try wire.head().headers["Content-Type"] == "text/event-stream")
            #expect(try wire.chunk() == Array("data: 0\n\n".utf8))
            for number in 1..<100 {
                source.put("data: \(number)\n\n")
                #expect(try wire.chunk() == Array("data: \(number)\n\n".utf8))
            }
            source.end()
            #expect(try wire.chunk().isEmpty)
            #expect(source.closed.wait())
            #expect(try wire.exchange("GET", "/").text == "root")
        }
    }

    @Test func `a stream that breaks off never ends cleanly`() async throws {
        let source = Source()
        try await withStream(source) { wire, _ in
            try wire.request("GET", "/stream")
            source.put("half")
            source.fail()
            #expect(throws: WireError.self) { try wire.response() }
            #expect(source.closed.wait())
        }
    }

    @Test func `a stream that is shorter than it promised never ends cleanly`() async throws {
        let source = Source()
        try await withStream(source, headers: ["Content-Length": "10"]) { wire, _ in
            try wire.request("GET", "/stream")
            source.put("half")
            source.end()
            #expect(throws: WireError.self) { try wire.response() }
        }
    }

    @Test func `a stream of known length has that length`() async throws {
        let source = Source()
        try await withStream(source, headers: ["Content-Length": "10"]) { wire, _ in
            try wire.request("GET", "/stream")
            source.put("five ")
            source.put("bytes")
            let response = try wire.response()
            #expect(response.text == "five bytes")
            #expect(response.headers["Transfer-Encoding"] == nil)
            #expect(try wire.exchange("GET", "/").text == "root")
        }
    }

    @Test func `a client that leaves a silent stream cancels its reader`() async throws {
        let source = Source()
        try await withStream(source) { _, server in
            do {
                let wire = try Wire(server.port)
                try wire.request("GET", "/stream")
                source.put("one")
                #expect(try wire.head().status == 200)
                _ = try wire.chunk()
            }
            #expect(source.closed.wait())
        }
    }

    @Test func `a large stream arrives whole`() async throws {
        final class Blocks: BodyReader {
            private let left = Lock(50 << 20)
            func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
                let count = left.withLock { left in
                    let count = min(left, buffer.count)
                    left -= count
                    return count
                }
                return count
            }
            func close() {}
        }
        var router = Router()
        router.on("GET", "/large") { _ in .stream(status: 200, headers: [:], reader: Blocks()) }
        try await withServer(router, { $0.mode = .threadPerConnection }) { server in
            let wire = try Wire(server.port)
            try wire.request("GET", "/large")
            _ = try wire.head()
            var total = 0
            while case let part = try wire.chunk(), !part.isEmpty { total += part.count }
            #expect(total == 50 << 20)
        }
    }
}
