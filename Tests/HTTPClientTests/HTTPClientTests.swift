import Glibc
import HTTPClient
import HTTPTypes
import Lifecycle
import Testing

/// The error that the request ends with.
private func failure(_ client: HTTPClient, _ request: ClientRequest) async throws -> HTTPClientError {
    try await #require(throws: HTTPClientError.self) { try await client.send(request) }
}

@Suite struct HTTPClientTests {
    private let client = HTTPClient()

    @Test func `a request arrives as it was made`() async throws {
        let received = Condition<Peer.Received?>(nil)
        let server = try Loopback { peer, _ in
            let request = try peer.request()
            received.update { $0 = request }
            try peer.respond("201 Created", fields: "X-One: 1\r\nx-two:  two \r\nX-One: again\r\n", "made")
        }
        let fields: Headers = ["Content-Type": "application/json", "X-Empty": "", "Authorization": "Bearer t"]
        let request = ClientRequest(method: "POST", url: "\(server.url)/a?b=c", headers: fields, body: Array("{}".utf8))
        let response = try await client.send(request)
        #expect(response.status == 201)
        #expect(response.isSuccess)
        #expect(response.text == "made")
        #expect(response.headers["x-two"] == "two")
        #expect(response.headers.values(of: "X-One") == ["1", "again"])
        let seen = try #require(received.withLock { $0 })
        #expect(seen.line == "POST /a?b=c HTTP/1.1")
        #expect(seen.body == "{}")
        for field in ["Content-Type: application/json", "X-Empty:", "Authorization: Bearer t", "User-Agent: bgagent"] {
            #expect(seen.fields.contains(field), "\(field) in \(seen.fields)")
        }
        #expect(!seen.fields.contains { $0.hasPrefix("Expect") })
    }

    @Test(arguments: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    func `every method is sent under its name`(method: String) async throws {
        let server = try Loopback { peer, _ in
            let request = try peer.request()
            let isHead = request.line.hasPrefix("HEAD")
            let type = request.fields.contains { $0.hasPrefix("Content-Type") } ? "typed" : "untyped"
            try peer.send(
                "HTTP/1.1 200 OK\r\nX-Seen: \(request.line) \(type)\r\nContent-Length: 2\r\n\r\n\(isHead ? "" : "ok")")
        }
        let response = try await client.send(ClientRequest(method: method, url: "\(server.url)/p"))
        #expect(response.headers["X-Seen"] == "\(method) /p HTTP/1.1 untyped")
        #expect(response.text == (method == "HEAD" ? "" : "ok"))
    }

    @Test func `a connection is used again`() async throws {
        let server = try Loopback { peer, _ in
            while true { try peer.respond(try peer.request().line == "" ? "500 No" : "200 OK") }
        }
        for _ in 0..<10 { #expect(try await client.send(ClientRequest(url: server.url)).status == 200) }
        #expect(server.count == 1)
    }

    @Test func `a POST never rides on a connection that may be dead`() async throws {
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.respond()
            _ = try peer.request()  // and then the connection breaks without a word
        }
        let first = try await client.send(ClientRequest(method: "POST", url: server.url))
        #expect(first.status == 200)
        #expect(try await client.send(ClientRequest(method: "POST", url: server.url)).status == 200)
        #expect(server.count == 2)
        // A GET takes one of the two, loses it, and is sent again on a fresh one.
        #expect(try await client.send(ClientRequest(url: server.url)).status == 200)
        #expect(server.count == 3)
    }

    @Test func `nobody there is a refused connection`() async throws {
        var closed = try Loopback { _, _ in }
        let url = closed.url
        closed = try Loopback { _, _ in }
        let error = try await onThread { [client] in
            while true {
                // The listener may need a moment to close.
                do {
                    _ = try client.sendBlocking(ClientRequest(url: url))
                } catch let error as HTTPClientError {
                    if error.code != .interrupted { return error }
                }
            }
        }
        #expect(error.code == .connect(.refused))
        #expect(error.isRetryable)
        #expect(!error.mayHaveReachedServer)
    }

    @Test func `a name without address cannot be connected to`() async throws {
        let error = try await failure(client, ClientRequest(url: "http://nowhere.invalid/"))
        #expect(error.code == .connect(.unresolved))
        #expect(!error.mayHaveReachedServer)
    }

    @Test func `silence is a timeout after which the request may have arrived`() async throws {
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            peer.awaitEnd()
        }
        let error = try await failure(client, ClientRequest(url: server.url, timeout: .milliseconds(100)))
        #expect(error.code == .timeout)
        #expect(error.isRetryable)
        #expect(error.mayHaveReachedServer)
    }

    @Test(arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
    func `a connection that breaks is an interruption`(answer: String) async throws {
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.send(answer)
        }
        let error = try await failure(client, ClientRequest(url: server.url))
        #expect(error.code == .interrupted)
        #expect(error.mayHaveReachedServer)
    }

    @Test func `a response over the limit is refused`() async throws {
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            try peer.respond("200 OK", String(repeating: "x", count: 1001))
        }
        let error = try await failure(client, ClientRequest(url: server.url, maxResponseBytes: 1000))
        #expect(error.code == .tooLarge)
        #expect(!error.isRetryable)
        let response = try await client.send(ClientRequest(url: server.url, maxResponseBytes: 1001))
        #expect(response.body.count == 1001)
    }

    @Test func `a plain answer to a TLS handshake is a TLS error`() async throws {
        let server = try Loopback { peer, _ in try peer.send("HTTP/1.1 400 Bad Request\r\n\r\n") }
        let error = try await failure(client, ClientRequest(url: "https://127.0.0.1:\(server.port)/"))
        #expect(error.code == .tls)
        #expect(!error.mayHaveReachedServer)
    }

    @Test func `redirects are followed only when asked for`() async throws {
        let server = try Loopback { peer, _ in
            while true {
                let line = try peer.request().line
                try line.contains("/old")
                    ? peer.respond("302 Found", fields: "Location: /new\r\nX-Old: 1\r\n")
                    : peer.respond("200 OK", "new")
            }
        }
        var request = ClientRequest(url: "\(server.url)/old")
        #expect(try await client.send(request).status == 302)
        request.followRedirects = true
        let response = try await client.send(request)
        #expect(response.text == "new")
        #expect(response.headers["X-Old"] == nil)
    }

    @Test(arguments: [
        ClientRequest(url: "file:///etc/hostname"), ClientRequest(url: "ftp://127.0.0.1/"), ClientRequest(url: ""),
        ClientRequest(url: "http://127.0.0.1:1/", headers: ["X": "a\r\nB: c"]),
        ClientRequest(url: "http://127.0.0.1:1/", headers: ["X: y\r\n": "z"]),
        ClientRequest(method: "GET /\r\n", url: "http://127.0.0.1:1/"), ClientRequest(method: "", url: "http://h/"),
    ])
    func `a request that cannot be sent is refused here`(request: ClientRequest) async throws {
        let error = try await failure(client, request)
        #expect(error.code == .invalidRequest)
        #expect(!error.mayHaveReachedServer)
    }

    @Test func `an error says no more of the URL than its origin`() async throws {
        let request = ClientRequest(url: "http://user:secret@nowhere.invalid:81/secret?token=secret#secret")
        let error = try await failure(client, request)
        #expect(error.origin == "http://nowhere.invalid:81")
        #expect(!"\(error)".contains("secret"))
    }

    @Test func `cancelling the task ends the exchange`() async throws {
        let arrived = AsyncStream.makeStream(of: Void.self)
        let server = try Loopback { peer, _ in
            _ = try peer.request()
            arrived.continuation.finish()
            peer.awaitEnd()
        }
        let task = Task { [client] in try await client.send(ClientRequest(url: server.url)) }
        for await _ in arrived.stream {}
        task.cancel()
        let error = try await #require(throws: HTTPClientError.self) { try await task.value }
        #expect(error.code == .cancelled)
    }

    @Test func `a proxy is used when it is named`() async throws {
        let proxy = try Loopback { peer, _ in try peer.respond("200 OK", try peer.request().line) }
        var request = ClientRequest(url: "http://elsewhere.invalid/path")
        request.proxy = .url(proxy.url)
        #expect(try await client.send(request).text == "GET http://elsewhere.invalid/path HTTP/1.1")
    }

    @Test func `a unix socket stands in for the host`() async throws {
        let path = "/tmp/bgagent-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max)).sock"
        defer { unlink(path) }
        let server = try Loopback(unixSocket: path) { peer, _ in try peer.respond("200 OK", try peer.request().line) }
        var request = ClientRequest(url: "http://engine/version")
        request.unixSocket = path
        #expect(try await client.send(request).text == "GET /version HTTP/1.1")
        withExtendedLifetime(server) {}
    }

    @Test func `many requests run at once and a stopped client refuses more`() async throws {
        let server = try Loopback { peer, _ in while true { try peer.respond("200 OK", try peer.request().line) } }
        let client = HTTPClient(HTTPClient.Options(threads: 3))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<100 {
                group.addTask {
                    let response = try await client.send(ClientRequest(url: "\(server.url)/\(number)"))
                    return response.text == "GET /\(number) HTTP/1.1"
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
        #expect(server.count <= 3)
        await client.stop()
        #expect(try await failure(client, ClientRequest(url: server.url)).code == .cancelled)
    }
}
