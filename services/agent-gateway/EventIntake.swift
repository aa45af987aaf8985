import Domain
import Patterns
import Postgres
import Store

/// Takes an agent's events: numbered, in order, each once, whatever is repeated or lost on the way.
struct EventIntake: Sendable {
    /// Longest string inside an event; the previews are shorter already.
    static let maxString = 4096
    static let maxEvent = 32_768
    let redaction: Redactor

    /// One numbered event.
    struct Event: Sendable {
        let clientSeq: Int64
        let type: TaskEventType
        let metadata: JSONValue
    }

    /// A request's events, checked.
    struct Batch: Sendable {
        let events: [Event]

        init(_ body: Fields) throws {
            guard let items = body.value["events"]?.array, items.count <= 100 else {
                throw Refusal.invalid("events: must be a list of at most 100")
            }
            events = try items.enumerated().map { index, item in
                guard let seq = item["client_seq"]?.integer, seq > 0 else {
                    throw Refusal.invalid("events[\(index)].client_seq: must be a number from 1")
                }
                guard let name = item["event_type"]?.string, let type = TaskEventType(rawValue: name),
                    TaskEventType.fromAgent.contains(type)
                else { throw Refusal.invalid("events[\(index)].event_type: not an event that agents tell") }
                let metadata = item["metadata"] ?? [:]
                guard metadata.object != nil else {
                    throw Refusal.invalid("events[\(index)].metadata: must be an object")
                }
                // The head counts turns in a column of its own.
                if type == .agentTurn, let turn = metadata["turn"], !turn.isNull {
                    guard let number = turn.integer, (0...1_000_000).contains(number) else {
                        throw Refusal.invalid("events[\(index)].metadata.turn: must be a whole number")
                    }
                }
                return Event(clientSeq: seq, type: type, metadata: metadata)
            }
            for (left, right) in zip(events, events.dropFirst()) where right.clientSeq != left.clientSeq + 1 {
                throw Refusal.invalid("events: client_seq must be dense")
            }
        }
    }

    /// Appends what is new, in one transaction, and returns the last number taken.
    func take(_ batch: Batch, _ session: SessionRecord, in connection: Connection) throws -> Int64 {
        try connection.transaction { tx in
            // Locked, so two deliveries of one batch follow each other.
            guard let last = try SessionStore.lockLive(session.taskID, attempt: session.attempt, in: tx) else {
                throw Refusal.staleEpoch
            }
            let fresh = batch.events.drop { $0.clientSeq <= last }
            guard let first = fresh.first, let newest = fresh.last else { return last }
            guard first.clientSeq == last + 1 else { throw Refusal.gap(expected: last + 1) }
            var flight = fresh.map { event in
                TaskLog.event(event.type, of: session.taskID, attempt: session.attempt, bounded(event.metadata))
            }
            flight.append(
                """
                UPDATE sessions SET last_client_seq = \(newest.clientSeq)
                WHERE task_id = \(session.taskID.rawValue) AND attempt = \(session.attempt)
                """)
            _ = try tx.pipeline(Array(flight))
            return newest.clientSeq
        }
    }

    /// The value without secrets and without what is too long.
    func redacted(_ value: JSONValue) -> JSONValue { clean(value, limit: 100_000) }

    private func bounded(_ metadata: JSONValue) -> JSONValue {
        let cleaned = clean(metadata, limit: EventIntake.maxString)
        if cleaned.text.utf8.count <= EventIntake.maxEvent { return cleaned }
        return ["truncated": true]
    }

    private func clean(_ value: JSONValue, limit: Int) -> JSONValue {
        switch value {
        case .string(let text):
            // Postgres text and jsonb cannot hold a NUL.
            let plain = text.contains("\0") ? String(text.map { $0 == "\0" ? "\u{FFFD}" : $0 }) : text
            return .string(String(redaction.redact(plain).prefix(limit)))
        case .array(let items): return .array(items.map { clean($0, limit: limit) })
        case .object(let members): return .object(members.mapValues { clean($0, limit: limit) })
        default: return value
        }
    }
}
