/// Which deliveries of one channel are settled, and with how few acks to say so.
///
/// The broker numbers deliveries 1, 2, 3 … per channel. An ack may cover every delivery up to its number, which is
/// right only when none of them is still being handled.
struct AckLedger {
    /// One `basic.ack` to send.
    struct Ack: Equatable {
        let tag: UInt64
        let multiple: Bool
    }

    /// Every delivery up to this one is settled.
    private var floor: UInt64 = 0
    /// Settled ones above the floor.
    private var settled: Set<UInt64> = []
    /// The latest delivery.
    private var latest: UInt64 = 0

    /// Notes that a delivery arrived.
    mutating func delivered(_ tag: UInt64) {
        latest = max(latest, tag)
    }

    /// Settles deliveries and returns the acks that tell the broker. Tags that are unknown or already settled are
    /// left out: acking one twice would cost the channel.
    mutating func ack(_ tags: [UInt64]) -> [Ack] {
        let fresh = tags.filter { settle($0) }.sorted()
        advanceFloor()
        let covered = fresh.prefix { $0 <= floor }
        var acks: [Ack] = []
        if let last = covered.last { acks.append(Ack(tag: last, multiple: covered.count > 1)) }
        for tag in fresh.dropFirst(covered.count) { acks.append(Ack(tag: tag, multiple: false)) }
        return acks
    }

    /// Settles one delivery by rejecting it. False when it is unknown or already settled.
    mutating func reject(_ tag: UInt64) -> Bool {
        let isFresh = settle(tag)
        advanceFloor()
        return isFresh
    }

    private mutating func settle(_ tag: UInt64) -> Bool {
        tag > floor && tag <= latest && settled.insert(tag).inserted
    }

    private mutating func advanceFloor() {
        while settled.remove(floor + 1) != nil { floor += 1 }
    }
}
