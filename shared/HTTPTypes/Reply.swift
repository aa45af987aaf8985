/// What a handler gives back.
package enum Reply {
    /// The answer.
    case response(Response)
    /// The answer comes later, from any thread, through the `Responder`. The closure runs at once on the handler's
    /// thread; in pool mode the connection costs no thread while it waits.
    ///
    /// Without an answer after `timeout` (nil = `ServerConfig.laterTimeout`) the router's failure hook answers.
    ///
    /// - Parameter isWork: the answer is being made, so a server that stops waits for it as for a handler. False: it waits
    ///   for something that may not come, and ends at once.
    case later(timeout: Duration? = nil, isWork: Bool = false, _ start: (Responder) -> Void)
    /// The answer's bytes come from `reader`. With a `Content-Length` among the headers it is sent with that length
    /// and a reader that ends early aborts the connection; without one it is sent in chunks as they are read.
    ///
    /// Reading blocks the connection's thread: for servers in `.threadPerConnection` mode, or for readers that
    /// never wait.
    case stream(status: Int, headers: Headers, reader: any BodyReader)
}

/// The other end of `Reply.later`. May be kept, copied, and used from any thread.
package struct Responder: Sendable {
    private let target: any ReplyTarget

    /// Servers and tests make these.
    package init(_ target: any ReplyTarget) {
        self.target = target
    }

    /// Answers. Returns false, and does nothing, when there is an answer already: an earlier one, the timeout's,
    /// or the client has left.
    @discardableResult
    package func send(_ response: Response) -> Bool {
        target.send(response)
    }

    /// True once an answer would reach nobody: sent, timed out, or the client left.
    package var isOver: Bool {
        target.isOver
    }

    /// Runs `body` once when it is over for another reason than `send`: timeout, client gone, server stopping. At once
    /// when that has happened already. `body` must be short; it runs on the server's thread.
    package func whenAbandoned(_ body: @escaping @Sendable () -> Void) {
        target.whenAbandoned(body)
    }
}

/// What a `Responder` talks to.
package protocol ReplyTarget: Sendable {
    func send(_ response: Response) -> Bool
    var isOver: Bool { get }
    func whenAbandoned(_ body: @escaping @Sendable () -> Void)
}
