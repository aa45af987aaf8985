import Lifecycle
@testable import Messaging
@testable import Store
import TestSupport
import Testing

@Suite struct RelayStateTests {
    /// A table of some lanes, pages that overlap and are answered in any order, and a broker that refuses at random.
    @Test func `pages that overlap publish each message once and each lane in its order`() {
        var seed = Seed(for: "relay pages")
        for _ in 0..<200 {
            var world = World(lanes: Int.random(in: 1...5, using: &seed))
            for _ in 0..<120 { world.step(&seed) }
            world.finish(&seed)
            #expect(world.broken == nil)
            #expect(world.table.isEmpty && world.state.underWay.isEmpty && world.state.lanesUnderWay.isEmpty)
            #expect(world.published.allSatisfy { $0.value == world.written[$0.key] })
        }
    }

    private struct World {
        var state = RelayState()
        var table: [OutboxRow] = []
        var written: [String: Int64]
        var published: [String: Int64] = [:]
        /// Pages with the broker: what of each is left.
        var pages: [[OutboxRow]] = []
        /// A page that was read and not yet looked at, with what was done when it was asked for.
        var read: (rows: [OutboxRow], done: Set<Int64>)?
        var broken: String?
        private var lastID: Int64 = 0

        init(lanes: Int) {
            written = Dictionary(uniqueKeysWithValues: (0..<lanes).map { ("task-\($0)", 0) })
        }

        mutating func step(_ seed: inout Seed) {
            switch Int.random(in: 0..<6, using: &seed) {
            case 0, 1: write(&seed)
            case 2: read = read ?? (Array(table.prefix(4)), state.confirmed)
            case 3: take()
            case 4: answer(&seed)
            default: forget()
            }
        }

        mutating func finish(_ seed: inout Seed) {
            for _ in 0..<2000 where !table.isEmpty || !pages.isEmpty {
                read = read ?? (Array(table.prefix(4)), state.confirmed)
                take()
                answer(&seed)
                forget()
            }
        }

        private mutating func write(_ seed: inout Seed) {
            guard let lane = written.keys.sorted().randomElement(using: &seed) else { return }
            lastID += 1
            written[lane, default: 0] += 1
            table.append(
                OutboxRow(
                    id: lastID, stream: "events", taskID: lane, streamSeq: written[lane, default: 0],
                    messageID: "\(lastID)", exchange: "", routingKey: "", type: "", attempt: 1, traceparent: "",
                    payload: ""))
        }

        private mutating func take() {
            guard let page = read else { return }
            read = nil
            let rows = state.take(page.rows, done: page.done)
            if !rows.isEmpty { pages.append(rows) }
        }

        /// One round of one page.
        private mutating func answer(_ seed: inout Seed) {
            guard let index = pages.indices.randomElement(using: &seed) else { return }
            var seen: Set<String> = []
            var left: [OutboxRow] = []
            var refused: Set<String> = []
            for row in pages[index] {
                guard seen.insert(row.taskID).inserted else {
                    left.append(row)
                    continue
                }
                if published[row.taskID, default: 0] + 1 != row.streamSeq {
                    broken = broken ?? "\(row.taskID) got \(row.streamSeq) after \(published[row.taskID, default: 0])"
                }
                if Int.random(in: 0..<10, using: &seed) == 0 {
                    refused.insert(row.taskID)
                } else {
                    published[row.taskID] = row.streamSeq
                    state.confirmed.insert(row.id)
                }
            }
            left.removeAll { refused.contains($0.taskID) }
            state.release(pages[index], but: left)
            if left.isEmpty { pages.remove(at: index) } else { pages[index] = left }
        }

        /// While a page is on its way, only what was done when it was asked for.
        private mutating func forget() {
            let ids = read?.done ?? state.confirmed
            table.removeAll { ids.contains($0.id) }
            state.confirmed.subtract(ids)
        }
    }
}
