/// Messages published together, and what became of each.
final class PublishBatch {
    /// The messages, in the caller's order.
    let messages: [Publishing]
    /// How many of them are written to the socket.
    var written = 0
    private var results: [PublishResult?]
    private var awaited: Int
    private var complete: ((Result<[PublishResult], AMQPError>) -> Void)?

    /// - Parameter complete: called once, with a result for each message or with the error that cost their channel.
    init(_ messages: [Publishing], complete: @escaping (Result<[PublishResult], AMQPError>) -> Void) {
        self.messages = messages
        self.complete = complete
        results = Array(repeating: nil, count: messages.count)
        awaited = messages.count
    }

    /// Notes the fate of one message and completes the batch with the last one.
    func settle(_ index: Int, _ result: PublishResult) {
        guard results[index] == nil else { return }
        results[index] = result
        awaited -= 1
        if awaited == 0 { finish(.success(results.compactMap { $0 })) }
    }

    /// Completes the batch with an error; some of its messages may have reached the broker.
    func fail(_ error: AMQPError) {
        finish(.failure(error))
    }

    private func finish(_ result: Result<[PublishResult], AMQPError>) {
        let complete = complete
        self.complete = nil
        complete?(result)
    }
}

/// Which published messages await their confirm.
///
/// The broker numbers publishes on a channel 1, 2, 3 … and confirms by number, one or many at a time. Returns carry
/// no number: they come in publishing order, each before the confirm of its message.
struct ConfirmLedger {
    private struct Entry {
        let batch: PublishBatch
        let index: Int
        var returned: PublishResult?
        var isSettled = false
    }

    private var entries: [Entry] = []
    /// Number of the first entry.
    private var base: UInt64 = 1
    /// Entries before this one are settled.
    private var head = 0
    /// Where the search for the next return starts.
    private var returnHead = 0

    /// True when nothing is awaited.
    var isEmpty: Bool {
        head == entries.count
    }

    /// Notes that a message was written.
    mutating func sent(_ batch: PublishBatch, _ index: Int) {
        entries.append(Entry(batch: batch, index: index))
    }

    /// Notes a return: it belongs to the first message after the previous return that looks like it.
    mutating func returned(exchange: String, routingKey: String, messageID: String?, code: Int, text: String) {
        for position in max(returnHead, head)..<entries.count {
            let entry = entries[position]
            let message = entry.batch.messages[entry.index]
            guard message.mandatory, !entry.isSettled, message.messageID == messageID,
                message.routingKey == routingKey, message.exchange == exchange
            else { continue }
            entries[position].returned = .returned(code: code, text: text)
            returnHead = position + 1
            return
        }
    }

    /// Notes a confirm or a nack; `multiple` covers every earlier message too.
    mutating func settle(_ tag: UInt64, multiple: Bool, isAck: Bool) {
        guard tag >= base, tag - base < UInt64(entries.count) else { return }
        let last = Int(tag - base)
        for position in (multiple ? head : last)..<(last + 1) where !entries[position].isSettled {
            let entry = entries[position]
            entries[position].isSettled = true
            entry.batch.settle(entry.index, entry.returned ?? (isAck ? .confirmed : .nacked))
        }
        while head < entries.count, entries[head].isSettled { head += 1 }
        compact()
    }

    /// Forgets everything: a new channel counts from 1 again. Returns the batches that lost messages.
    mutating func reset() -> [PublishBatch] {
        var lost: [PublishBatch] = []
        for entry in entries[head...] where !entry.isSettled && lost.last !== entry.batch { lost.append(entry.batch) }
        self = ConfirmLedger()
        return lost
    }

    /// Drops settled entries in bulk, so that settling costs the same however many are awaited.
    private mutating func compact() {
        guard head == entries.count || (head >= 1024 && head * 2 >= entries.count) else { return }
        entries.removeFirst(head)
        base += UInt64(head)
        returnHead = max(returnHead - head, 0)
        head = 0
    }
}
