import HTTPClient
import HTTPTypes
import Lifecycle
import Testing

@Suite struct StreamingResponseTests {
    private let client = HTTPClient()
    private let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    private func chunk(_ text: String) -> String {
        String(text.utf8.count, radix: 16) + "\r\n\(text)\r\n"
    }

    private func text(_ stream: StreamingResponse, _ count: Int) throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < count, let part = try stream.read() { bytes += part }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `events are read as they come`() async throws {
        let head = head
        let turns = BlockingQueue<String>()
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.send(head)
            while case .item(let text) = turns.take() { try peer.send(chunk(text)) }
            try peer.send("0\r\n\r\n")
            peer.awaitEnd()
        }
        try await onThread {
            let stream = try client.stream(ClientRequest(method: "POST", url: server.url, timeout: .zero))
            #expect(stream.status == 200)
            #expect(stream.headers["content-type"] == "text/event-stream")
            for number in 0..<100 {
                let event = "data: \(number)\n\n"
                turns.put(event)
                #expect(try text(stream, event.utf8.count) == event)
            }
            turns.close()
            #expect(try stream.read() == nil)
            #expect(try stream.read() == nil)
            stream.close()
            #expect(try stream.read() == nil)
        }
    }

    @Test func `a stream that breaks off is an error`() async throws {
        let head = head
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.send(head + chunk("half"))
        }
        try await onThread {
            let stream = try client.stream(ClientRequest(url: server.url))
            let error = #expect(throws: HTTPClientError.self) { while try stream.read() != nil {} }
            #expect(error?.code == .interrupted)
        }
    }

    @Test func `a stream that falls silent is a timeout`() async throws {
        let head = head
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.send(head + chunk("one"))
            peer.awaitEnd()
        }
        try await onThread {
            var request = ClientRequest(url: server.url, timeout: .zero)
            request.idleTimeout = .milliseconds(100)
            let stream = try client.stream(request)
            #expect(try text(stream, 3) == "one")
            let error = #expect(throws: HTTPClientError.self) { try stream.read() }
            #expect(error?.code == .timeout)
        }
    }

    @Test func `a stream is cancelled from another thread`() async throws {
        let head = head
        let closed = Condition(false)
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.send(head + chunk("one"))
            peer.awaitEnd()
            closed.update { $0 = true }
        }
        try await onThread {
            let stream = try client.stream(ClientRequest(url: server.url, timeout: .zero))
            #expect(try text(stream, 3) == "one")
            let canceller = try NamedThread("canceller") { stream.cancel() }
            let error = #expect(throws: HTTPClientError.self) { try stream.read() }
            #expect(error?.code == .cancelled)
            canceller.join()
            stream.close()
            stream.cancel()
            #expect(closed.wait(timeout: .seconds(10)) { $0 ? true : nil } == true)
        }
    }

    @Test func `a large body is pulled through whole, and its connection kept`() async throws {
        let server = try Loopback { peer, _ in
            let block = String(repeating: "x", count: 1 << 20)
            while true {
                _ = try peer.request()
                try peer.send("HTTP/1.1 200 OK\r\nContent-Length: \(20 << 20)\r\n\r\n")
                for _ in 0..<20 { try peer.send(block) }
            }
        }
        try await onThread {
            for _ in 0..<2 {
                let stream = try client.stream(ClientRequest(url: server.url))
                var total = 0
                while let part = try stream.read() { total += part.count }
                #expect(total == 20 << 20)
                stream.close()
            }
        }
        #expect(server.count == 1)
    }

    @Test func `a stream that is left early takes its connection along`() async throws {
        let head = head
        let server = try Loopback { peer, number in
            _ = try peer.request()
            if number == 1 {
                try peer.send(head + chunk("one"))
                return peer.awaitEnd()
            }
            try peer.respond("200 OK", "second")
        }
        try await onThread {
            do {
                let stream = try client.stream(ClientRequest(url: server.url))
                #expect(try text(stream, 3) == "one")
            }
            #expect(try client.sendBlocking(ClientRequest(url: server.url)).text == "second")
        }
        #expect(server.count == 2)
    }
}
