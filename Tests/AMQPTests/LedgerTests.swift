import Testing

@testable import AMQP

@Suite struct AckLedgerTests {
    /// A ledger behind a reference: `#expect` evaluates no mutating calls.
    private final class Acks {
        private var ledger = AckLedger()

        init(delivered: UInt64) {
            for tag in 1...delivered { ledger.delivered(tag) }
        }

        func ack(_ tags: [UInt64]) -> [AckLedger.Ack] {
            ledger.ack(tags)
        }

        func reject(_ tag: UInt64) -> Bool {
            ledger.reject(tag)
        }
    }

    @Test func `tags without a gap are one ack`() {
        let ledger = Acks(delivered: 5)
        #expect(ledger.ack([3, 1, 2]) == [.init(tag: 3, multiple: true)])
        #expect(ledger.ack([4]) == [.init(tag: 4, multiple: false)])
    }

    @Test func `a message still being handled is never covered`() {
        let ledger = Acks(delivered: 6)
        #expect(
            ledger.ack([1, 2, 4, 6]) == [
                .init(tag: 2, multiple: true), .init(tag: 4, multiple: false), .init(tag: 6, multiple: false),
            ])
        #expect(ledger.ack([3]) == [.init(tag: 3, multiple: false)])
        #expect(ledger.ack([5]) == [.init(tag: 5, multiple: false)])
    }

    @Test func `the ack that closes a gap names a delivery that is still open`() {
        let ledger = Acks(delivered: 4)
        _ = ledger.ack([2, 3])
        #expect(ledger.ack([1]) == [.init(tag: 1, multiple: false)])
        #expect(ledger.ack([4]) == [.init(tag: 4, multiple: false)])
    }

    @Test func `what is unknown or settled is left out`() {
        let ledger = Acks(delivered: 3)
        #expect(ledger.ack([0, 9]).isEmpty)
        #expect(ledger.ack([2, 2]) == [.init(tag: 2, multiple: false)])
        #expect(ledger.ack([2]).isEmpty)
        #expect(ledger.reject(1))
        #expect(!ledger.reject(1))
        #expect(!ledger.reject(2))
        #expect(ledger.ack([1, 3]) == [.init(tag: 3, multiple: false)])
    }

    @Test func `a connection's tag keeps channel and number apart`() {
        let tag = ConnectionTag(channel: 2047, tag: 123_456_789)
        let again = ConnectionTag(tag.packed)
        #expect(again.channel == 2047)
        #expect(again.tag == 123_456_789)
    }
}

@Suite struct ConfirmLedgerTests {
    private final class Outcome {
        var result: Result<[PublishResult], AMQPError>?
    }

    private func batch(_ ids: String...) -> (PublishBatch, Outcome) {
        let outcome = Outcome()
        let messages = ids.map { Publishing(exchange: "x", routingKey: "k", messageID: $0, body: []) }
        return (PublishBatch(messages) { outcome.result = $0 }, outcome)
    }

    private func sent(_ batches: PublishBatch...) -> ConfirmLedger {
        var ledger = ConfirmLedger()
        for batch in batches { for index in batch.messages.indices { ledger.sent(batch, index) } }
        return ledger
    }

    @Test func `confirms out of order give results in order`() {
        let (batch, outcome) = batch("a", "b", "c")
        var ledger = sent(batch)
        ledger.settle(3, multiple: false, isAck: true)
        ledger.settle(1, multiple: false, isAck: false)
        #expect(outcome.result == nil)
        ledger.settle(2, multiple: false, isAck: true)
        #expect(outcome.result == .success([.nacked, .confirmed, .confirmed]))
        #expect(ledger.isEmpty)
    }

    @Test func `one confirm covers several batches`() {
        let (first, firstOutcome) = batch("a", "b")
        let (second, secondOutcome) = batch("c", "d")
        var ledger = sent(first, second)
        ledger.settle(3, multiple: true, isAck: true)
        #expect(firstOutcome.result == .success([.confirmed, .confirmed]))
        #expect(secondOutcome.result == nil)
        ledger.settle(4, multiple: true, isAck: false)
        #expect(secondOutcome.result == .success([.confirmed, .nacked]))
    }

    @Test func `a return belongs to its message, twins in publishing order`() {
        let (batch, outcome) = batch("a", "twin", "b", "twin")
        var ledger = sent(batch)
        for _ in 1...2 {
            ledger.returned(exchange: "x", routingKey: "k", messageID: "twin", code: 312, text: "NO_ROUTE")
        }
        ledger.settle(4, multiple: true, isAck: true)
        let returned = PublishResult.returned(code: 312, text: "NO_ROUTE")
        #expect(outcome.result == .success([.confirmed, returned, .confirmed, returned]))
    }

    @Test func `a return of nobody's message and a confirm of no number change nothing`() {
        let (batch, outcome) = batch("a")
        var ledger = sent(batch)
        ledger.returned(exchange: "x", routingKey: "other", messageID: "a", code: 312, text: "")
        ledger.settle(0, multiple: false, isAck: true)
        ledger.settle(7, multiple: true, isAck: true)
        #expect(outcome.result == nil)
        ledger.settle(1, multiple: false, isAck: true)
        #expect(outcome.result == .success([.confirmed]))
    }

    @Test func `numbers go on over many rounds`() {
        var ledger = ConfirmLedger()
        var number: UInt64 = 0
        for round in 0..<50 {
            let (batch, outcome) = batch("a", "b", "c")
            for index in 0..<3 { ledger.sent(batch, index) }
            number += 3
            ledger.settle(number, multiple: true, isAck: true)
            #expect(outcome.result == .success([.confirmed, .confirmed, .confirmed]), "round \(round)")
        }
    }

    @Test func `a lost channel names the batches that lost messages, and counts from one again`() {
        let (settled, _) = batch("a")
        let (lost, _) = batch("b", "c")
        var ledger = sent(settled, lost)
        ledger.settle(1, multiple: false, isAck: true)
        #expect(ledger.reset().map(ObjectIdentifier.init) == [ObjectIdentifier(lost)])
        let (next, outcome) = batch("d")
        ledger.sent(next, 0)
        ledger.settle(1, multiple: false, isAck: true)
        #expect(outcome.result == .success([.confirmed]))
    }
}
