/// What other threads ask for, and the writing it takes.
extension FrameLoop {
    private static let publishesPerTurn = 128

    /// Carries out one command, as far as that goes without waiting.
    func perform(_ command: Command) throws(AMQPError) {
        if phase != .running, !command.isWelcomeWhileClosing {
            command.refuse(.closedHere)
            return
        }
        switch command {
        case .publish(let messages, let complete):
            unwritten.append(PublishBatch(messages, complete: complete))
        case .call(let calls, let complete):
            controlQueue.append((calls, complete))
            try startControl()
        case .consume(let order, let complete):
            try consume(order, complete)
        case .ack(let tags):
            for tag in tags.lazy.map(ConnectionTag.init) {
                channels[tag.channel]?.consuming?.acks.append(tag.tag)
                touched.insert(tag.channel)
            }
        case .reject(let packed, let requeue):
            let tag = ConnectionTag(packed)
            guard let channel = channels[tag.channel], !channel.isClosing,
                channel.consuming?.ledger.reject(tag.tag) == true
            else { return }
            try handle.reject(tag.tag, requeue: requeue, on: tag.channel)
        case .closeConsumer(let number, let complete):
            guard let channel = channels[number] else { return complete() }
            channel.closers.append(complete)
            guard !channel.isClosing else { return }
            try flushAcks()
            try close(channel)
        case .close(let complete):
            closers.append(complete)
            startClosing()
        }
    }

    /// Sends the acks of this turn, as few as say it all.
    func flushAcks() throws(AMQPError) {
        for number in touched {
            guard let channel = channels[number], let acks = channel.consuming?.acks, !acks.isEmpty else { continue }
            channel.consuming?.acks = []
            guard !channel.isClosing else { continue }
            for ack in channel.consuming?.ledger.ack(acks) ?? [] { try handle.ack(ack, on: number) }
        }
        touched = []
    }

    /// Writes this turn's share of messages. True when the broker, or the socket, has to be waited for.
    func writePublishes() throws(AMQPError) -> Bool {
        guard !unwritten.isEmpty else { return false }
        if mailbox.isBlocked { return true }
        for _ in 0..<Self.publishesPerTurn {
            guard let batch = unwritten.first else { return false }
            guard handle.isWritable else { return true }
            try openPublishChannel()
            try handle.publish(batch.messages[batch.written], on: Self.publishChannel)
            confirms.sent(batch, batch.written)
            batch.written += 1
            if batch.written == batch.messages.count { unwritten.removeFirst() }
        }
        return false
    }

    private func openPublishChannel() throws(AMQPError) {
        guard channels[Self.publishChannel] == nil else { return }
        let channel = Channel(Self.publishChannel)
        channels[channel.number] = channel
        // No need to wait for the answers: the broker takes a channel's methods in order.
        try send([.openChannel, .selectConfirms], on: channel) { _ in }
    }

    /// Starts the next group of calls. One at a time: after a refusal the broker ignores what else was sent on the
    /// channel, and a group must not fail for another's mistake.
    func startControl() throws(AMQPError) {
        guard !controlIsBusy, let next = controlQueue.first else { return }
        controlIsBusy = true
        var calls = next.calls
        let channel = channels[Self.controlChannel] ?? Channel(Self.controlChannel)
        let isNew = channels.updateValue(channel, forKey: channel.number) == nil
        if isNew { calls.insert(.openChannel, at: 0) }
        try send(calls, on: channel) { [unowned self] result in
            // At the end of the connection the queue is already emptied and its groups are told.
            guard !controlQueue.isEmpty else { return }
            controlIsBusy = false
            let group = controlQueue.removeFirst()
            group.complete(result.map { isNew ? Array($0.dropFirst()) : $0 })
        }
    }

    private func consume(_ order: ConsumerOrder, _ complete: @escaping Completion<UInt16>) throws(AMQPError) {
        guard let number = freeConsumerChannel() else {
            let error = AMQPError(.invalidArgument, "the connection has no channel left for another consumer")
            return Command.consume(order, complete).refuse(error)
        }
        let channel = Channel(number)
        channels[number] = channel
        var queues: [String: String] = [:]
        var calls: [MethodCall] = [.openChannel, .setPrefetch(order.prefetch)]
        for (index, queue) in order.queues.enumerated() {
            let consumerTag = "\(number).\(index)"
            queues[consumerTag] = queue
            calls.append(.consume(queue: queue, consumerTag: consumerTag, exclusive: order.exclusive))
        }
        channel.consuming = Channel.Consuming(state: order.state, queues: queues)
        try send(calls, on: channel) { complete($0.map { _ in number }) }
    }

    /// A channel number that was not in use for as long as possible, so that late acks for an ended consumer do not
    /// meet a new one.
    private func freeConsumerChannel() -> UInt16? {
        for _ in Self.controlChannel..<Self.lastChannel {
            lastConsumerChannel += 1
            if lastConsumerChannel > Self.lastChannel { lastConsumerChannel = Self.controlChannel + 1 }
            if channels[lastConsumerChannel] == nil { return lastConsumerChannel }
        }
        return nil
    }

    private func send(
        _ calls: [MethodCall], on channel: Channel, complete: @escaping (Result<[Reply], AMQPError>) -> Void
    ) throws(AMQPError) {
        let group = CallGroup(count: calls.count, complete: complete)
        for call in calls {
            channel.await(group)
            try handle.send(call, on: channel.number)
        }
    }
}

extension Command {
    /// Acks are still worth sending on the way out.
    fileprivate var isWelcomeWhileClosing: Bool {
        switch self {
        case .ack, .reject, .closeConsumer, .close: true
        case .publish, .call, .consume: false
        }
    }
}
