import AMQP

/// Reads a stream of deliveries one by one, or so many at a time.
final class Inbox {
    /// The stream finished before what was asked for came.
    struct Finished: Error {}

    private var iterator: AsyncStream<[Delivery]>.AsyncIterator
    private var waiting: ArraySlice<Delivery> = []

    init(_ deliveries: AsyncStream<[Delivery]>) {
        iterator = deliveries.makeAsyncIterator()
    }

    /// The next delivery.
    func next() async throws -> Delivery {
        while waiting.isEmpty {
            guard let deliveries = await iterator.next() else { throw Finished() }
            waiting = deliveries[...]
        }
        return waiting.removeFirst()
    }

    /// The next so many deliveries.
    func take(_ count: Int) async throws -> [Delivery] {
        var taken: [Delivery] = []
        while taken.count < count { taken.append(try await next()) }
        return taken
    }

    /// Everything up to the end of the stream.
    func rest() async -> [Delivery] {
        var taken: [Delivery] = []
        while let delivery = try? await next() { taken.append(delivery) }
        return taken
    }
}

extension Delivery {
    /// The body as text.
    var text: String {
        String(decoding: body, as: UTF8.self)
    }
}

extension Publishing {
    /// A message for one queue.
    static func to(_ queue: String, _ text: String) -> Publishing {
        Publishing(exchange: "", routingKey: queue, messageID: text, body: Array(text.utf8))
    }
}

/// Opens a connection for a test and closes it afterwards.
func withConnection<Result>(
    _ url: String, heartbeat: Int = 3, isolation: isolated (any Actor)? = #isolation,
    _ body: (AMQPConnection) async throws -> Result
) async throws -> Result {
    var config = try AMQPConfig(url: url)
    config.heartbeat = heartbeat
    let connection = try await AMQPConnection.open(config)
    do {
        let result = try await body(connection)
        await connection.close()
        return result
    } catch {
        await connection.close()
        throw error
    }
}
