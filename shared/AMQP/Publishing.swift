/// A message on its way to the broker.
package struct Publishing: Sendable, Equatable {
    /// The exchange to publish to; empty is the default exchange, which routes by queue name.
    package var exchange: String
    /// What the exchange routes by.
    package var routingKey: String
    /// Names the message. Give each one its own: by it the broker's returns are matched to their message.
    package var messageID: String?
    /// What the message belongs to; consistent-hash exchanges route by it.
    package var correlationID: String?
    /// What the message is.
    package var type: String?
    /// How the body is written, such as `application/json`.
    package var contentType: String?
    /// Seconds since 1970.
    package var timestamp: Int64?
    /// Anything else a consumer should know; at most 64 KiB on the wire.
    package var headers: [String: FieldValue]
    /// The content.
    package var body: [UInt8]
    /// True asks for the message back when no queue takes it; without it such a message is lost in silence.
    package var mandatory: Bool
    /// True keeps the message across a restart of the broker.
    package var persistent: Bool

    package init(
        exchange: String, routingKey: String, messageID: String? = nil, correlationID: String? = nil,
        type: String? = nil, contentType: String? = nil, timestamp: Int64? = nil,
        headers: [String: FieldValue] = [:], body: [UInt8], mandatory: Bool = true, persistent: Bool = true
    ) {
        self.exchange = exchange
        self.routingKey = routingKey
        self.messageID = messageID
        self.correlationID = correlationID
        self.type = type
        self.contentType = contentType
        self.timestamp = timestamp
        self.headers = headers
        self.body = body
        self.mandatory = mandatory
        self.persistent = persistent
    }

    /// Refuses what the protocol cannot carry. Found out halfway through the frames it would cost the connection.
    func validate() throws(AMQPError) {
        let texts = [
            ("exchange", exchange), ("routing key", routingKey), ("message id", messageID),
            ("correlation id", correlationID), ("type", type), ("content type", contentType),
        ]
        for (name, text) in texts { try Publishing.checkLength(of: text, name) }
        try Publishing.check(headers: headers)
    }

    static func checkLength(of text: String?, _ name: String) throws(AMQPError) {
        guard let text, text.utf8.count > 255 else { return }
        throw AMQPError(.invalidArgument, "the \(name) is longer than 255 bytes")
    }

    static func check(headers: [String: FieldValue]) throws(AMQPError) {
        guard FieldValue.wireSize(of: headers) <= 65_536 else {
            throw AMQPError(.invalidArgument, "the headers are larger than 64 KiB")
        }
        try checkNames(in: .table(headers))
    }

    private static func checkNames(in value: FieldValue) throws(AMQPError) {
        switch value {
        case .table(let fields):
            for (name, value) in fields {
                try checkLength(of: name, "name of a header")
                try checkNames(in: value)
            }
        case .array(let values):
            for value in values { try checkNames(in: value) }
        default:
            break
        }
    }
}

/// What became of one published message.
package enum PublishResult: Sendable, Equatable {
    /// The broker has it: a persistent message in a durable queue survives a crash of the broker.
    case confirmed
    /// The broker refused it, as a full queue with `reject-publish` does. It may be published again.
    case nacked
    /// No queue takes it; 312 is `NO_ROUTE`.
    case returned(code: Int, text: String)
}
