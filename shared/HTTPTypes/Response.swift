/// An answer that is whole in memory.
package struct Response: Sendable {
    package var status: Int
    package var headers: Headers
    package var body: [UInt8]

    package init(status: Int, headers: Headers = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A JSON document that is already encoded.
    package static func json(_ body: some Sequence<UInt8>, status: Int = 200, headers: Headers = []) -> Response {
        Response(status: status, headers: [("Content-Type", "application/json")] + headers, body: Array(body))
    }

    /// Plain text.
    package static func text(_ text: String, status: Int = 200, headers: Headers = []) -> Response {
        let type: Headers = [("Content-Type", "text/plain; charset=utf-8")]
        return Response(status: status, headers: type + headers, body: Array(text.utf8))
    }
}

/// Where the bytes of a streamed answer come from. Called by one thread at a time.
package protocol BodyReader: AnyObject, Sendable {
    /// Fills the front of `buffer` and returns how many bytes; may block until there are some.
    ///
    /// 0 is the end. A throw aborts the connection, so that the client sees a failure, never a clean end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int

    /// Called once, when nothing more will be read: after the end, a failure, or the client's leaving.
    func close()

    /// Called from another thread when the client left or the server stops: a blocked `read` should throw soon.
    func cancel()
}

extension BodyReader {
    package func cancel() {}
}
