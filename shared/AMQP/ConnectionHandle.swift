import CRabbitMQ
import Glibc
import Lifecycle

/// Sole owner of librabbitmq's connection.
///
/// The library has no locks: everything here runs on the thread of one `FrameLoop`. Opening blocks for at most the
/// config's connect timeout at each step; reading never blocks; writing blocks only while the broker does not read.
final class ConnectionHandle {
    let state: amqp_connection_state_t
    private var isConnected = true
    let arena = Arena()
    /// The socket, to `poll`.
    let descriptor: Int32
    /// As the broker told it at login; empty when it did not.
    let brokerVersion: String

    /// Connects and logs in.
    ///
    /// - Throws: `.unreachable`, or `.loginRefused` with the broker's words.
    init(_ config: AMQPConfig) throws(AMQPError) {
        guard let state = amqp_new_connection() else { fatalError("out of memory") }
        do {
            try Self.connect(state, config)
            try Self.logIn(state, config, arena)
        } catch {
            amqp_destroy_connection(state)
            throw error
        }
        self.state = state
        descriptor = amqp_get_sockfd(state)
        var version = [CChar](repeating: 0, count: 64)
        let length = rabbitmq_server_version(state, &version, version.count)
        brokerVersion = String(decoding: version.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        disconnect()
    }

    /// Closes the socket and frees everything. Nothing else may be called afterwards.
    func disconnect() {
        guard isConnected else { return }
        isConnected = false
        amqp_destroy_connection(state)
    }

    private static func connect(_ state: amqp_connection_state_t, _ config: AMQPConfig) throws(AMQPError) {
        var timeout = timeval(config.connectTimeout)
        amqp_set_handshake_timeout(state, &timeout)
        amqp_set_rpc_timeout(state, &timeout)
        let socket: OpaquePointer?
        if config.usesTLS {
            socket = amqp_ssl_socket_new(state)
            guard let socket else { fatalError("out of memory") }
            try trust(config, socket)
            amqp_ssl_socket_set_verify_peer(socket, 1)
            amqp_ssl_socket_set_verify_hostname(socket, 1)
            amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST)
        } else {
            socket = amqp_tcp_socket_new(state)
        }
        guard let socket else { fatalError("out of memory") }
        let status = amqp_socket_open_noblock(socket, config.host, Int32(config.port), &timeout)
        guard status == AMQP_STATUS_OK.rawValue else {
            let reason = tlsReason(status) ?? String(cString: amqp_error_string2(status))
            throw AMQPError(.unreachable, "cannot connect to \(config): \(reason)")
        }
    }

    /// Lets a certificate come from any of the config's authorities. A machine without the system's is common in
    /// containers, and no reason to fail while another one is named.
    private static func trust(_ config: AMQPConfig, _ socket: OpaquePointer) throws(AMQPError) {
        let read = config.certificateAuthorities.filter {
            amqp_ssl_socket_set_cacert(socket, $0) == AMQP_STATUS_OK.rawValue
        }
        // The last one is what somebody named.
        guard let named = config.certificateAuthorities.last, read.last == named else {
            let file = config.certificateAuthorities.last ?? "no file"
            throw AMQPError(
                .unreachable,
                "cannot connect to \(config): \(file) holds no certificates; name the authority's file in BGAGENT_CA_FILE"
            )
        }
    }

    /// What a refused handshake means and what to set; nil for other reasons.
    private static func tlsReason(_ status: Int32) -> String? {
        switch status {
        case AMQP_STATUS_SSL_PEER_VERIFY_FAILED.rawValue:
            """
            the broker's certificate has expired, or comes from an authority that is not trusted here; name its \
            authority in BGAGENT_CA_FILE or as ?cacertfile= in the broker's URL
            """
        case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED.rawValue:
            """
            the broker's certificate is for another host name; write one of its names into the broker's URL, or give the \
            broker a certificate for this one
            """
        case AMQP_STATUS_SSL_CONNECTION_FAILED.rawValue, AMQP_STATUS_SSL_ERROR.rawValue:
            """
            no TLS handshake came about; the broker may not speak TLS on this port (its listeners.ssl), or none of the \
            versions from 1.2 on
            """
        default: nil
        }
    }

    /// Says who we are and which of RabbitMQ's extensions we understand: without `consumer_cancel_notify` a
    /// deleted queue would leave its consumer waiting for ever, without `connection.blocked` publishers guess.
    private static func logIn(
        _ state: amqp_connection_state_t, _ config: AMQPConfig, _ arena: Arena
    ) throws(AMQPError) {
        var properties = arena.table([
            "product": "bgagent",
            "capabilities": .table([
                "authentication_failure_close": true, "basic.nack": true, "connection.blocked": true,
                "consumer_cancel_notify": true, "exchange_exchange_bindings": true, "publisher_confirms": true,
            ]),
        ])
        defer { arena.reset() }
        let reply = rabbitmq_login_plain(
            state, config.vhost, Int32(config.heartbeat), &properties, config.user, config.password)
        switch reply.reply_type {
        case AMQP_RESPONSE_NORMAL:
            return
        case AMQP_RESPONSE_SERVER_EXCEPTION:
            var refusal = AMQPError(.unreachable, "the broker closed the connection while logging in")
            if let decoded = reply.reply.decoded, reply.reply.id == MethodID.connectionClose {
                refusal = AMQPError(decoded.load(as: amqp_connection_close_t.self))
            }
            // 403 is a wrong user or password, 530 a virtual host that is missing or not allowed.
            let isRefusal = refusal.replyCode == 403 || refusal.replyCode == 530
            throw AMQPError(
                isRefusal ? .loginRefused : .unreachable, replyCode: refusal.replyCode,
                "\(config) refuses user \"\(config.user)\": \(refusal.reason)")
        default:
            let reason = String(cString: amqp_error_string2(reply.library_error))
            throw AMQPError(.unreachable, "cannot log in to \(config): \(reason)")
        }
    }

    /// The next frame that has arrived, nil when none has. Also sends the heartbeat when it is due.
    func nextFrame() throws(AMQPError) -> InboundFrame? {
        var frame = amqp_frame_t()
        var now = timeval()
        let status = amqp_simple_wait_frame_noblock(state, &frame, &now)
        if status == AMQP_STATUS_TIMEOUT.rawValue { return nil }
        try check(status)
        return InboundFrame(frame)
    }

    /// Gives back the memory of the frames taken so far.
    func releaseBuffers() {
        amqp_maybe_release_buffers(state)
    }

    /// True when the library holds input that `poll` on the socket would not show.
    var hasBufferedInput: Bool {
        amqp_frames_enqueued(state) != 0 || amqp_data_in_buffer(state) != 0
    }

    /// True when a message can be written without waiting, unless it is larger than the socket's buffer.
    var isWritable: Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&request, 1, 0) == 1
    }

    /// Writes a message.
    func publish(_ message: Publishing, on channel: UInt16) throws(AMQPError) {
        var properties = amqp_basic_properties_t()
        func set(_ flag: Int32) { properties._flags |= UInt32(flag) }
        properties.delivery_mode = message.persistent ? 2 : 1
        set(AMQP_BASIC_DELIVERY_MODE_FLAG)
        if let text = message.messageID {
            properties.message_id = arena.bytes(text)
            set(AMQP_BASIC_MESSAGE_ID_FLAG)
        }
        if let text = message.correlationID {
            properties.correlation_id = arena.bytes(text)
            set(AMQP_BASIC_CORRELATION_ID_FLAG)
        }
        if let text = message.type {
            properties.type = arena.bytes(text)
            set(AMQP_BASIC_TYPE_FLAG)
        }
        if let text = message.contentType {
            properties.content_type = arena.bytes(text)
            set(AMQP_BASIC_CONTENT_TYPE_FLAG)
        }
        if let seconds = message.timestamp {
            properties.timestamp = UInt64(clamping: seconds)
            set(AMQP_BASIC_TIMESTAMP_FLAG)
        }
        if !message.headers.isEmpty {
            properties.headers = arena.table(message.headers)
            set(AMQP_BASIC_HEADERS_FLAG)
        }
        let exchange = arena.bytes(message.exchange)
        let routingKey = arena.bytes(message.routingKey)
        var body = message.body
        let status = body.withUnsafeMutableBytes { bytes in
            amqp_basic_publish(
                state, channel, exchange, routingKey, message.mandatory ? 1 : 0, 0, &properties,
                amqp_bytes_t(len: bytes.count, bytes: bytes.baseAddress))
        }
        arena.reset()
        try check(status)
    }

    /// Writes an ack.
    func ack(_ ack: AckLedger.Ack, on channel: UInt16) throws(AMQPError) {
        try check(amqp_basic_ack(state, channel, ack.tag, ack.multiple ? 1 : 0))
    }

    /// Writes a reject.
    func reject(_ tag: UInt64, requeue: Bool, on channel: UInt16) throws(AMQPError) {
        try check(amqp_basic_reject(state, channel, tag, requeue ? 1 : 0))
    }

    /// Writes a method without waiting for its answer, which arrives as a frame.
    func send(_ call: MethodCall, on channel: UInt16) throws(AMQPError) {
        switch call {
        case .openChannel: try send(MethodID.channelOpen, amqp_channel_open_t(), on: channel)
        case .selectConfirms: try send(MethodID.confirmSelect, amqp_confirm_select_t(), on: channel)
        case .setPrefetch(let count):
            var method = amqp_basic_qos_t()
            method.prefetch_count = UInt16(clamping: count)
            try send(MethodID.basicQos, method, on: channel)
        case .consume(let queue, let consumerTag, let exclusive):
            var method = amqp_basic_consume_t()
            method.queue = arena.bytes(queue)
            method.consumer_tag = arena.bytes(consumerTag)
            method.exclusive = exclusive ? 1 : 0
            try send(MethodID.basicConsume, method, on: channel)
        case .declareExchange, .declareQueue, .bind, .unbind, .purge, .deleteQueue, .deleteExchange:
            try sendTopology(call, on: channel)
        }
    }

    /// Closes a channel in order.
    func closeChannel(_ channel: UInt16) throws(AMQPError) {
        var method = amqp_channel_close_t()
        method.reply_code = 200
        try send(MethodID.channelClose, method, on: channel)
    }

    /// Acknowledges that the broker closed a channel; its number is free again.
    func answerChannelClose(_ channel: UInt16) throws(AMQPError) {
        try send(MethodID.channelCloseOK, amqp_channel_close_ok_t(), on: channel)
    }

    /// Closes the connection in order.
    func closeConnection() throws(AMQPError) {
        var method = amqp_connection_close_t()
        method.reply_code = 200
        try send(MethodID.connectionClose, method, on: 0)
    }

    /// Acknowledges that the broker closed the connection.
    func answerConnectionClose() throws(AMQPError) {
        try send(MethodID.connectionCloseOK, amqp_connection_close_ok_t(), on: 0)
    }

    /// Writes a method and takes back the memory its fields used.
    func send<Method>(_ id: UInt32, _ method: Method, on channel: UInt16) throws(AMQPError) {
        var method = method
        let status = withUnsafeMutableBytes(of: &method) { amqp_send_method(state, channel, id, $0.baseAddress) }
        arena.reset()
        try check(status)
    }

    private func check(_ status: Int32) throws(AMQPError) {
        guard status != AMQP_STATUS_OK.rawValue else { return }
        let isSilence = status == AMQP_STATUS_HEARTBEAT_TIMEOUT.rawValue
        throw AMQPError(
            isSilence ? .heartbeatMissed : .connectionLost, String(cString: amqp_error_string2(status)))
    }
}

extension timeval {
    fileprivate init(_ duration: Duration) {
        let microseconds = duration.wholeNanoseconds / 1000
        self.init(tv_sec: Int(microseconds / 1_000_000), tv_usec: Int(microseconds % 1_000_000))
    }
}
