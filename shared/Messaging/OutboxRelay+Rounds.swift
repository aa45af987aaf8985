import AMQP
import Domain
import Lifecycle
import Postgres
import Store
import Telemetry

extension OutboxRelay {
    /// Publishes a page that is under way, in rounds of at most one message per stream and task; a round begins when the
    /// one before it is confirmed. A lane of which nothing is left is free for the next page.
    func publish(_ rows: [OutboxRow], _ shards: [Int], _ connection: AMQPConnection) async {
        let keys = Set(shards.map(OutboxRelay.lockKey))
        var waiting = rows
        var losses = 0
        do {
            while !waiting.isEmpty {
                var seen: Set<String> = []
                var (round, left): ([OutboxRow], [OutboxRow]) = ([], [])
                for row in waiting {
                    if row.isOrdered && !seen.insert(row.lane).inserted { left.append(row) } else { round.append(row) }
                }
                // One that was frozen finds its shards with another: what is left of the page is the other's.
                if !lock.held.isSuperset(of: keys) { break }
                do {
                    let results = try await connection.publish(round.map(\.publishing))
                    let blocked = Set(zip(round, results).filter { !settle($0, $1) }.map(\.0.lane))
                    left.removeAll { blocked.contains($0.lane) }
                } catch let error as AMQPError where error.replyCode == 404 {
                    // A missing exchange takes all down that is on the channel; without its messages the next round stands.
                    let missing = try await missingExchanges(of: round, connection)
                    losses += 1
                    // Another page's, then; unless it comes again and again.
                    if missing.isEmpty && losses > 5 { throw error }
                    let lost = round.filter { missing.contains($0.exchange) }
                    for row in lost { _ = settle(row, .returned(code: 404, text: "no exchange \(row.exchange)")) }
                    let blocked = Set(lost.map(\.lane))
                    left = waiting.filter { !blocked.contains($0.lane) }
                }
                let done = waiting
                state.withLock { $0.release(done, but: left) }
                waiting = left
            }
        } catch {
            state.withLock { $0.failure = error }
        }
        let abandoned = waiting
        state.withLock { $0.release(abandoned) }
    }

    private func missingExchanges(of rows: [OutboxRow], _ connection: AMQPConnection) async throws -> Set<String> {
        var missing: Set<String> = []
        for exchange in Set(rows.map(\.exchange)) {
            do {
                try await connection.passiveDeclare(exchange: exchange)
            } catch let error as AMQPError where error.replyCode == 404 {
                missing.insert(exchange)
            }
        }
        return missing
    }

    /// True when the broker has it. What it does not take holds back its own stream and task, nothing else.
    private func settle(_ row: OutboxRow, _ result: PublishResult) -> Bool {
        switch result {
        case .confirmed:
            state.withLock { _ = $0.confirmed.insert(row.id) }
            published.increment(by: 1, row.stream)
            return true
        case .nacked:
            refused.increment(by: 1, row.stream)
            log.warning("broker refused a message", ["stream": row.stream, "task_id": row.taskID])
        case .returned(let code, let text):
            unroutable.increment(by: 1, row.stream)
            log.error(
                "no queue takes a message",
                [
                    "stream": row.stream, "task_id": row.taskID, "routing_key": row.routingKey,
                    "reply": "\(code) \(text)",
                ])
        }
        let until = MonotonicTime.now + settings.holdBack
        state.withLock { $0.heldUntil[row.lane] = until }
        return false
    }
}

extension OutboxRow {
    /// Hints carry no sequence and need no order.
    var isOrdered: Bool { streamSeq > 0 }

    fileprivate var publishing: Publishing {
        Publishing(
            exchange: exchange, routingKey: routingKey, messageID: messageID, correlationID: taskID, type: type,
            contentType: "application/json",
            headers: [
                "traceparent": .string(traceparent), "attempt": .int(Int64(attempt)), "stream_seq": .int(streamSeq),
            ],
            body: Array(payload.utf8))
    }
}
