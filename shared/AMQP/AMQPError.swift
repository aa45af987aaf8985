/// What went wrong between this process and the broker.
///
/// A connection is never mended in place: after an error with `isConnectionLost` open a new one.
package struct AMQPError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure a caller may want to tell apart.
    package enum Code: Sendable, Equatable {
        /// The URL of the broker cannot be read.
        case invalidURL
        /// A message or a name does not fit the protocol; nothing was sent.
        case invalidArgument
        /// No connection could be made: wrong address, nobody listening, no answer in time, TLS refused.
        case unreachable
        /// The broker refused the user, the password or the virtual host.
        case loginRefused
        /// The broker closed the channel that the call ran on; the connection lives on.
        case channelClosed
        /// The broker cancelled a consumer, because its queue was deleted or moved.
        case consumerCancelled
        /// The broker closed the connection, or the line broke.
        case connectionLost
        /// The broker was silent for two heartbeats.
        case heartbeatMissed
        /// This process closed the connection.
        case closed
    }

    /// The kind of failure.
    package let code: Code
    /// The broker's own number for it, such as 404 or 406; nil when the broker said none.
    package let replyCode: Int?
    /// The reason in words, the broker's where it gave one. Never holds a password.
    package let reason: String

    package init(_ code: Code, replyCode: Int? = nil, _ reason: String) {
        self.code = code
        self.replyCode = replyCode
        self.reason = reason
    }

    static let closedHere = AMQPError(.closed, "this process closed the connection")

    /// True when the connection is gone: every later call on it fails too.
    package var isConnectionLost: Bool {
        switch code {
        case .connectionLost, .heartbeatMissed, .closed: true
        case .invalidURL, .invalidArgument, .unreachable, .loginRefused, .channelClosed, .consumerCancelled: false
        }
    }

    /// True when the same attempt may succeed later, on a new connection.
    package var isRetryable: Bool {
        switch code {
        case .unreachable, .connectionLost, .heartbeatMissed, .consumerCancelled: true
        case .invalidURL, .invalidArgument, .loginRefused, .channelClosed, .closed: false
        }
    }

    package var description: String {
        guard let replyCode else { return "AMQP: \(reason)" }
        return "AMQP: \(reason) (\(replyCode))"
    }
}
