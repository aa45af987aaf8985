/// A first-in, first-out queue between threads. Taking blocks the thread until something is there.
package final class BlockingQueue<Element>: Sendable {
    private struct State {
        var items: [Element] = []
        var head = 0
        var isClosed = false

        var count: Int { items.count - head }

        mutating func take() -> Element? {
            guard head < items.count else { return nil }
            let item = items[head]
            head += 1
            // Taken items are dropped in bulk, so that a take costs the same however long the queue is.
            if head == items.count {
                items.removeAll(keepingCapacity: items.capacity <= 1024)
                head = 0
            } else if head >= 1024, head * 2 >= items.count {
                items.removeFirst(head)
                head = 0
            }
            return item
        }
    }

    /// Why `take` came back with nothing.
    package enum Taken {
        case item(Element)
        case timedOut
        case closed
    }

    private let condition = Condition(State())

    package init() {}

    /// How many items wait.
    package var count: Int {
        condition.withLock { $0.count }
    }

    /// Adds an item. Returns false, and keeps nothing, once the queue is closed.
    @discardableResult
    package func put(_ item: sending Element) -> Bool {
        let taken = condition.withLock { state in
            if state.isClosed { return false }
            state.items.append(item)
            return true
        }
        if taken { condition.signal() }
        return taken
    }

    /// Blocks until an item is there, the queue is closed and empty, or the time is up.
    package func take(timeout: Duration? = nil) -> Taken {
        condition.wait(timeout: timeout) { state in
            if let item = state.take() { return .item(item) }
            return state.isClosed ? .closed : nil
        } ?? .timedOut
    }

    /// Refuses new items; those that wait can still be taken. Wakes every taker.
    package func close() {
        condition.update { $0.isClosed = true }
    }
}
