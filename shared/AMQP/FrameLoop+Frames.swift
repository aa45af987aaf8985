/// What the broker sends.
extension FrameLoop {
    /// Takes in one frame. Throws when it ends the connection.
    func receive(_ frame: InboundFrame) throws(AMQPError) {
        switch frame {
        case .connectionClosed(let error):
            try? handle.answerConnectionClose()
            throw error
        case .connectionCloseAnswered:
            throw .closedHere
        case .blocked:
            mailbox.isBlocked = true
        case .unblocked:
            mailbox.isBlocked = false
        case .channelCloseAnswered(let number):
            channels.removeValue(forKey: number)?.finish(.closedHere)
        case .channelClosed(let number, let error):
            try channelClosed(number, error)
        case .delivered(let number, _), .returned(let number, _), .header(let number, _, _), .body(let number, _),
            .confirmed(let number, _, _, _), .reply(let number, _), .consumerCancelled(let number, _):
            guard let channel = channels[number], !channel.isClosing else { return }
            try receive(frame, on: channel)
        case .other:
            break
        }
    }

    private func receive(_ frame: InboundFrame, on channel: Channel) throws(AMQPError) {
        switch frame {
        case .delivered(_, let head):
            channel.content = Channel.Content(.delivery(head))
        case .returned(_, let head):
            channel.content = Channel.Content(.returned(head))
        case .header(_, let properties, let bodySize):
            channel.content?.properties = properties
            channel.content?.bodySize = bodySize
            finishContent(on: channel)
        case .body(_, let bytes):
            channel.content?.append(bytes)
            finishContent(on: channel)
        case .confirmed(_, let tag, let multiple, let isAck):
            confirms.settle(tag, multiple: multiple, isAck: isAck)
        case .reply(_, let reply):
            channel.receive(reply)
            try startControl()
        case .consumerCancelled(_, let consumerTag):
            let queue = channel.consuming?.queues[consumerTag] ?? consumerTag
            channel.flushDeliveries()
            channel.consuming?.state.fail(
                AMQPError(.consumerCancelled, "the broker cancelled the consumer of queue '\(queue)'"))
            try close(channel)
        default:
            break
        }
    }

    private func finishContent(on channel: Channel) {
        guard let content = channel.content, content.isComplete, let properties = content.properties else { return }
        channel.content = nil
        switch content.head {
        case .returned(let head):
            confirms.returned(
                exchange: head.exchange, routingKey: head.routingKey, messageID: properties.messageID,
                code: head.code, text: head.text)
        case .delivery(let head):
            let delivery = Delivery(
                queue: channel.consuming?.queues[head.consumerTag] ?? "",
                deliveryTag: ConnectionTag(channel: channel.number, tag: head.tag).packed,
                redelivered: head.redelivered, exchange: head.exchange, routingKey: head.routingKey,
                messageID: properties.messageID, correlationID: properties.correlationID, type: properties.type,
                contentType: properties.contentType, timestamp: properties.timestamp, headers: properties.headers,
                body: content.body)
            channel.consuming?.ledger.delivered(head.tag)
            channel.consuming?.pending.append(delivery)
            touchedByDelivery.insert(channel.number)
        }
    }

    /// Hands out the deliveries of this turn.
    func flushDeliveries() {
        for number in touchedByDelivery { channels[number]?.flushDeliveries() }
        touchedByDelivery = []
    }

    /// The broker closed a channel, because of something that was sent on it. The rest of the connection lives on.
    private func channelClosed(_ number: UInt16, _ error: AMQPError) throws(AMQPError) {
        try handle.answerChannelClose(number)
        guard let channel = channels.removeValue(forKey: number) else { return }
        // Both sides closed at once: there is no telling whether the answer to ours still comes, so it is over now.
        if channel.isClosing { return channel.finish(.closedHere) }
        channel.flushDeliveries()
        channel.fail(error)
        if number == Self.publishChannel {
            let lost = confirms.reset()
            unwritten.removeAll { batch in lost.contains { $0 === batch } }
            for batch in lost { batch.fail(error) }
        }
        try startControl()
    }
}
