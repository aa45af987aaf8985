/// A method that the broker answers. Answers come in the order of the calls on their channel.
enum MethodCall: Sendable {
    case openChannel
    case selectConfirms
    case setPrefetch(Int)
    case consume(queue: String, consumerTag: String, exclusive: Bool)
    case declareExchange(Exchange, passive: Bool)
    case declareQueue(Queue, passive: Bool)
    case bind(Binding)
    case unbind(Binding)
    case purge(queue: String)
    case deleteQueue(String)
    case deleteExchange(String)

    /// Refuses what the protocol cannot carry.
    func validate() throws(AMQPError) {
        switch self {
        case .openChannel, .selectConfirms, .setPrefetch:
            break
        case .consume(let queue, _, _), .purge(let queue), .deleteQueue(let queue):
            try Publishing.checkLength(of: queue, "queue name")
        case .deleteExchange(let exchange):
            try Publishing.checkLength(of: exchange, "exchange name")
        case .declareExchange(let exchange, _):
            try Publishing.checkLength(of: exchange.name, "exchange name")
            try Publishing.check(headers: exchange.allArguments)
        case .declareQueue(let queue, _):
            try Publishing.checkLength(of: queue.name, "queue name")
            try Publishing.check(headers: queue.arguments.fields)
        case .bind(let binding), .unbind(let binding):
            try Publishing.checkLength(of: binding.source, "exchange name")
            try Publishing.checkLength(of: binding.routingKey, "routing key")
            switch binding.target {
            case .queue(let name): try Publishing.checkLength(of: name, "queue name")
            case .exchange(let name): try Publishing.checkLength(of: name, "exchange name")
            }
            try Publishing.check(headers: binding.arguments)
        }
    }
}

/// The broker's answer to a `MethodCall`.
enum Reply: Sendable, Equatable {
    /// Done, with nothing to tell.
    case done
    /// How full the queue is, or how many messages went with it.
    case counts(messages: Int, consumers: Int)
}

/// Several calls on one channel that succeed or fail as one.
final class CallGroup {
    private var replies: [Reply] = []
    private var complete: ((Result<[Reply], AMQPError>) -> Void)?
    private let count: Int

    /// - Parameter complete: called once, with all answers or with the first error.
    init(count: Int, complete: @escaping (Result<[Reply], AMQPError>) -> Void) {
        self.count = count
        self.complete = complete
    }

    /// Takes the next answer, or the error that ended the channel.
    func receive(_ result: Result<Reply, AMQPError>) {
        switch result {
        case .success(let reply):
            replies.append(reply)
            if replies.count == count { finish(.success(replies)) }
        case .failure(let error):
            finish(.failure(error))
        }
    }

    /// Ends the group; later answers are ignored.
    func finish(_ result: Result<[Reply], AMQPError>) {
        let complete = complete
        self.complete = nil
        complete?(result)
    }
}
