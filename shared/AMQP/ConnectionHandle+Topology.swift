import CRabbitMQ

extension ConnectionHandle {
    /// Writes a method about exchanges, queues or bindings.
    func sendTopology(_ call: MethodCall, on channel: UInt16) throws(AMQPError) {
        switch call {
        case .declareExchange(let exchange, let passive):
            var method = amqp_exchange_declare_t()
            method.exchange = arena.bytes(exchange.name)
            method.type = arena.bytes(exchange.kind.name)
            method.passive = passive ? 1 : 0
            method.durable = exchange.durable ? 1 : 0
            method.arguments = arena.table(exchange.allArguments)
            try send(MethodID.exchangeDeclare, method, on: channel)
        case .declareQueue(let queue, let passive):
            var method = amqp_queue_declare_t()
            method.queue = arena.bytes(queue.name)
            method.passive = passive ? 1 : 0
            method.durable = queue.durable ? 1 : 0
            method.exclusive = queue.exclusive ? 1 : 0
            method.auto_delete = queue.autoDelete ? 1 : 0
            method.arguments = arena.table(queue.arguments.fields)
            try send(MethodID.queueDeclare, method, on: channel)
        case .bind(let binding):
            try sendBind(binding, on: channel)
        case .unbind(let binding):
            try sendUnbind(binding, on: channel)
        case .purge(let queue):
            var method = amqp_queue_purge_t()
            method.queue = arena.bytes(queue)
            try send(MethodID.queuePurge, method, on: channel)
        case .deleteQueue(let queue):
            var method = amqp_queue_delete_t()
            method.queue = arena.bytes(queue)
            try send(MethodID.queueDelete, method, on: channel)
        case .deleteExchange(let exchange):
            var method = amqp_exchange_delete_t()
            method.exchange = arena.bytes(exchange)
            try send(MethodID.exchangeDelete, method, on: channel)
        case .openChannel, .selectConfirms, .setPrefetch, .consume:
            break
        }
    }

    private func sendBind(_ binding: Binding, on channel: UInt16) throws(AMQPError) {
        switch binding.target {
        case .queue(let name):
            var method = amqp_queue_bind_t()
            method.queue = arena.bytes(name)
            method.exchange = arena.bytes(binding.source)
            method.routing_key = arena.bytes(binding.routingKey)
            method.arguments = arena.table(binding.arguments)
            try send(MethodID.queueBind, method, on: channel)
        case .exchange(let name):
            var method = amqp_exchange_bind_t()
            method.destination = arena.bytes(name)
            method.source = arena.bytes(binding.source)
            method.routing_key = arena.bytes(binding.routingKey)
            method.arguments = arena.table(binding.arguments)
            try send(MethodID.exchangeBind, method, on: channel)
        }
    }

    private func sendUnbind(_ binding: Binding, on channel: UInt16) throws(AMQPError) {
        switch binding.target {
        case .queue(let name):
            var method = amqp_queue_unbind_t()
            method.queue = arena.bytes(name)
            method.exchange = arena.bytes(binding.source)
            method.routing_key = arena.bytes(binding.routingKey)
            method.arguments = arena.table(binding.arguments)
            try send(MethodID.queueUnbind, method, on: channel)
        case .exchange(let name):
            var method = amqp_exchange_unbind_t()
            method.destination = arena.bytes(name)
            method.source = arena.bytes(binding.source)
            method.routing_key = arena.bytes(binding.routingKey)
            method.arguments = arena.table(binding.arguments)
            try send(MethodID.exchangeUnbind, method, on: channel)
        }
    }
}
