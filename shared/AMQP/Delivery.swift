/// A message on its way from a queue to this process.
///
/// It is ours until it is acked or rejected, or until its consumer's channel closes: then the broker delivers it
/// again, with `redelivered` set.
package struct Delivery: Sendable, Equatable {
    /// The queue it came from.
    package let queue: String
    /// What `ack` and `reject` take: unique on its connection, meaningless on any other.
    package let deliveryTag: UInt64
    /// True when the broker has delivered it before; the handler may have seen it.
    package let redelivered: Bool
    /// The exchange it was published to.
    package let exchange: String
    /// The routing key it was published with.
    package let routingKey: String
    /// Names the message.
    package let messageID: String?
    /// What the message belongs to.
    package let correlationID: String?
    /// What the message is.
    package let type: String?
    /// How the body is written.
    package let contentType: String?
    /// Seconds since 1970.
    package let timestamp: Int64?
    /// Anything else; the broker adds `x-delivery-count` and `x-death`.
    package let headers: [String: FieldValue]
    /// The content.
    package let body: [UInt8]
}

/// A message's properties as they stand in its header frame.
struct MessageProperties {
    var messageID: String?
    var correlationID: String?
    var type: String?
    var contentType: String?
    var timestamp: Int64?
    var headers: [String: FieldValue] = [:]
}

/// A delivery tag that names its channel too: the broker numbers deliveries per channel, callers see one space.
struct ConnectionTag {
    let channel: UInt16
    let tag: UInt64

    init(channel: UInt16, tag: UInt64) {
        self.channel = channel
        self.tag = tag
    }

    init(_ packed: UInt64) {
        channel = UInt16(packed >> 48)
        tag = packed & 0xFFFF_FFFF_FFFF
    }

    /// Both in one number. 48 bits of tag last nine years at a million messages a second.
    var packed: UInt64 {
        UInt64(channel) << 48 | tag
    }
}
