import CRabbitMQ

/// A frame from the broker, copied out of the library's memory.
enum InboundFrame {
    case delivered(UInt16, DeliveryHead)
    case returned(UInt16, ReturnHead)
    case header(UInt16, MessageProperties, bodySize: Int)
    case body(UInt16, [UInt8])
    case confirmed(UInt16, tag: UInt64, multiple: Bool, isAck: Bool)
    case reply(UInt16, Reply)
    case consumerCancelled(UInt16, consumerTag: String)
    case channelClosed(UInt16, AMQPError)
    case channelCloseAnswered(UInt16)
    case connectionClosed(AMQPError)
    case connectionCloseAnswered
    case blocked(reason: String)
    case unblocked
    /// Nothing this module asked for.
    case other
}

/// What `basic.deliver` says ahead of the message.
struct DeliveryHead {
    let consumerTag: String
    let tag: UInt64
    let redelivered: Bool
    let exchange: String
    let routingKey: String
}

/// What `basic.return` says ahead of the message.
struct ReturnHead {
    let code: Int
    let text: String
    let exchange: String
    let routingKey: String
}

/// Numbers of the methods we speak. The library's own names for them are casts, which Swift does not import.
enum MethodID {
    static let connectionClose: UInt32 = 0x0A_0032
    static let connectionCloseOK: UInt32 = 0x0A_0033
    static let connectionBlocked: UInt32 = 0x0A_003C
    static let connectionUnblocked: UInt32 = 0x0A_003D
    static let channelOpen: UInt32 = 0x14_000A
    static let channelOpenOK: UInt32 = 0x14_000B
    static let channelClose: UInt32 = 0x14_0028
    static let channelCloseOK: UInt32 = 0x14_0029
    static let exchangeDeclare: UInt32 = 0x28_000A
    static let exchangeDeclareOK: UInt32 = 0x28_000B
    static let exchangeDelete: UInt32 = 0x28_0014
    static let exchangeDeleteOK: UInt32 = 0x28_0015
    static let exchangeBind: UInt32 = 0x28_001E
    static let exchangeBindOK: UInt32 = 0x28_001F
    static let exchangeUnbind: UInt32 = 0x28_0028
    static let exchangeUnbindOK: UInt32 = 0x28_0033
    static let queueDeclare: UInt32 = 0x32_000A
    static let queueDeclareOK: UInt32 = 0x32_000B
    static let queueBind: UInt32 = 0x32_0014
    static let queueBindOK: UInt32 = 0x32_0015
    static let queuePurge: UInt32 = 0x32_001E
    static let queuePurgeOK: UInt32 = 0x32_001F
    static let queueDelete: UInt32 = 0x32_0028
    static let queueDeleteOK: UInt32 = 0x32_0029
    static let queueUnbind: UInt32 = 0x32_0032
    static let queueUnbindOK: UInt32 = 0x32_0033
    static let basicQos: UInt32 = 0x3C_000A
    static let basicQosOK: UInt32 = 0x3C_000B
    static let basicConsume: UInt32 = 0x3C_0014
    static let basicConsumeOK: UInt32 = 0x3C_0015
    static let basicCancel: UInt32 = 0x3C_001E
    static let basicReturn: UInt32 = 0x3C_0032
    static let basicDeliver: UInt32 = 0x3C_003C
    static let basicAck: UInt32 = 0x3C_0050
    static let basicNack: UInt32 = 0x3C_0078
    static let confirmSelect: UInt32 = 0x55_000A
    static let confirmSelectOK: UInt32 = 0x55_000B

    /// Answers that say no more than that the call is done.
    static let plainReplies: Set<UInt32> = [
        channelOpenOK, exchangeDeclareOK, exchangeDeleteOK, exchangeBindOK, exchangeUnbindOK, queueBindOK,
        queueUnbindOK, basicQosOK, basicConsumeOK, confirmSelectOK,
    ]
}

extension InboundFrame {
    /// Copies a frame; what it points to is valid until the library's buffers are released.
    init(_ frame: amqp_frame_t) {
        switch Int32(frame.frame_type) {
        case AMQP_FRAME_METHOD:
            self = .init(frame.channel, frame.payload.method)
        case AMQP_FRAME_HEADER:
            let header = frame.payload.properties
            let properties = header.decoded?.load(as: amqp_basic_properties_t.self)
            self = .header(
                frame.channel, properties.map { MessageProperties($0) } ?? MessageProperties(),
                bodySize: Int(clamping: header.body_size))
        case AMQP_FRAME_BODY:
            self = .body(frame.channel, [UInt8](frame.payload.body_fragment))
        default:
            self = .other
        }
    }

    private init(_ channel: UInt16, _ method: amqp_method_t) {
        guard let decoded = method.decoded else {
            self = MethodID.plainReplies.contains(method.id) ? .reply(channel, .done) : .other
            return
        }
        switch method.id {
        case MethodID.basicDeliver:
            let deliver = decoded.load(as: amqp_basic_deliver_t.self)
            self = .delivered(
                channel,
                DeliveryHead(
                    consumerTag: String(deliver.consumer_tag), tag: deliver.delivery_tag,
                    redelivered: deliver.redelivered != 0, exchange: String(deliver.exchange),
                    routingKey: String(deliver.routing_key)))
        case MethodID.basicReturn:
            let returned = decoded.load(as: amqp_basic_return_t.self)
            self = .returned(
                channel,
                ReturnHead(
                    code: Int(returned.reply_code), text: String(returned.reply_text),
                    exchange: String(returned.exchange), routingKey: String(returned.routing_key)))
        case MethodID.basicAck:
            let ack = decoded.load(as: amqp_basic_ack_t.self)
            self = .confirmed(channel, tag: ack.delivery_tag, multiple: ack.multiple != 0, isAck: true)
        case MethodID.basicNack:
            let nack = decoded.load(as: amqp_basic_nack_t.self)
            self = .confirmed(channel, tag: nack.delivery_tag, multiple: nack.multiple != 0, isAck: false)
        case MethodID.queueDeclareOK:
            let declared = decoded.load(as: amqp_queue_declare_ok_t.self)
            self = .reply(
                channel,
                .counts(messages: Int(declared.message_count), consumers: Int(declared.consumer_count)))
        case MethodID.queuePurgeOK:
            let purged = decoded.load(as: amqp_queue_purge_ok_t.self)
            self = .reply(channel, .counts(messages: Int(purged.message_count), consumers: 0))
        case MethodID.queueDeleteOK:
            let deleted = decoded.load(as: amqp_queue_delete_ok_t.self)
            self = .reply(channel, .counts(messages: Int(deleted.message_count), consumers: 0))
        case MethodID.basicCancel:
            let cancel = decoded.load(as: amqp_basic_cancel_t.self)
            self = .consumerCancelled(channel, consumerTag: String(cancel.consumer_tag))
        case MethodID.channelClose:
            self = .channelClosed(channel, AMQPError(decoded.load(as: amqp_channel_close_t.self)))
        case MethodID.connectionClose:
            self = .connectionClosed(AMQPError(decoded.load(as: amqp_connection_close_t.self)))
        case MethodID.channelCloseOK: self = .channelCloseAnswered(channel)
        case MethodID.connectionCloseOK: self = .connectionCloseAnswered
        case MethodID.connectionBlocked:
            self = .blocked(reason: String(decoded.load(as: amqp_connection_blocked_t.self).reason))
        case MethodID.connectionUnblocked: self = .unblocked
        case let id where MethodID.plainReplies.contains(id): self = .reply(channel, .done)
        default: self = .other
        }
    }
}

extension AMQPError {
    /// The broker closed a channel.
    init(_ close: amqp_channel_close_t) {
        self.init(.channelClosed, replyCode: Int(close.reply_code), String(close.reply_text))
    }

    /// The broker closed the connection.
    init(_ close: amqp_connection_close_t) {
        self.init(.connectionLost, replyCode: Int(close.reply_code), String(close.reply_text))
    }
}

extension MessageProperties {
    /// Copies what is present.
    init(_ properties: amqp_basic_properties_t) {
        func text(_ flag: Int32, _ bytes: amqp_bytes_t) -> String? {
            properties._flags & UInt32(flag) == 0 ? nil : String(bytes)
        }
        messageID = text(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id)
        correlationID = text(AMQP_BASIC_CORRELATION_ID_FLAG, properties.correlation_id)
        type = text(AMQP_BASIC_TYPE_FLAG, properties.type)
        contentType = text(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type)
        if properties._flags & UInt32(AMQP_BASIC_TIMESTAMP_FLAG) != 0 {
            timestamp = Int64(clamping: properties.timestamp)
        }
        if properties._flags & UInt32(AMQP_BASIC_HEADERS_FLAG) != 0 {
            headers = [String: FieldValue](properties.headers)
        }
    }
}
