import AMQP
import Domain

/// One message of an ordered stream, decoded as far as every consumer needs it.
package struct Message: Sendable {
    package let id: String
    package let taskID: TaskID
    /// Dense per stream and task, from 1.
    package let seq: Int64
    package let type: String
    package let attempt: Int
    package let traceparent: String
    package let body: JSONValue
    /// The body as it came, for parking and dead letters.
    package let text: String
    package let queue: String

    /// Decodes a delivery. Throws what is wrong with it: such a message can never be handled.
    package init(_ delivery: Delivery) throws(Undecodable) {
        let text = String(decoding: delivery.body, as: UTF8.self)
        guard let task = delivery.correlationID.flatMap(TaskID.init(rawValue:)) else {
            throw Undecodable(reason: "correlation_id is no task id")
        }
        guard let seq = delivery.headers["stream_seq"]?.int, seq > 0 else {
            throw Undecodable(reason: "stream_seq is missing")
        }
        guard let id = delivery.messageID, let type = delivery.type else {
            throw Undecodable(reason: "message_id or type is missing")
        }
        guard !id.utf8.contains(0), !type.utf8.contains(0) else {
            throw Undecodable(reason: "message_id or type holds a zero byte")
        }
        self.init(
            id: id, taskID: task, seq: seq, type: type, attempt: Int(delivery.headers["attempt"]?.int ?? 1),
            traceparent: delivery.headers["traceparent"]?.string ?? "", body: try Message.decode(text), text: text,
            queue: delivery.queue)
    }

    private init(
        id: String, taskID: TaskID, seq: Int64, type: String, attempt: Int, traceparent: String, body: JSONValue,
        text: String, queue: String
    ) {
        self.id = id
        self.taskID = taskID
        self.seq = seq
        self.type = type
        self.attempt = attempt
        self.traceparent = traceparent
        self.body = body
        self.text = text
        self.queue = queue
    }

    /// The whole message as one JSON text, so that it can wait in Postgres.
    package var parked: String {
        JSONValue.object([
            "id": .string(id), "task_id": .string(taskID.rawValue), "seq": .integer(seq), "type": .string(type),
            "attempt": JSONValue(attempt), "traceparent": .string(traceparent), "text": .string(text),
        ]).text
    }

    /// Reads what `parked` wrote.
    package init(parked: String, queue: String) throws(Undecodable) {
        guard let value = try? JSONText.decode(JSONValue.self, parked), let id = value["id"]?.string,
            let task = value["task_id"]?.string.flatMap(TaskID.init(rawValue:)), let seq = value["seq"]?.integer,
            let type = value["type"]?.string, let text = value["text"]?.string
        else { throw Undecodable(reason: "the parked form is damaged") }
        self.init(
            id: id, taskID: task, seq: seq, type: type, attempt: Int(value["attempt"]?.integer ?? 1),
            traceparent: value["traceparent"]?.string ?? "", body: try Message.decode(text), text: text, queue: queue)
    }

    private static func decode(_ text: String) throws(Undecodable) -> JSONValue {
        guard let body = try? JSONText.decode(JSONValue.self, text), body.object != nil else {
            throw Undecodable(reason: "the body is no JSON object")
        }
        return body
    }
}

/// A message that no consumer can ever handle; it becomes a dead letter at once.
package struct Undecodable: Error, Sendable, Hashable {
    package let reason: String
}
