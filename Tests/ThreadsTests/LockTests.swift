import Lifecycle
import Testing

@Suite struct LockTests {
    @Test func `no increment is lost between threads`() throws {
        let lock = Lock(0)
        let threads = try (1...4).map { number in
            try NamedThread("count-\(number)") {
                for _ in 0..<10_000 { lock.withLock { $0 += 1 } }
            }
        }
        for thread in threads { thread.join() }
        #expect(lock.withLock { $0 } == 40_000)
    }

    @Test func `a thrown error releases the lock`() {
        struct Refused: Error {}
        let lock = Lock(1)
        #expect(throws: Refused.self) { try lock.withLock { _ in throw Refused() } }
        #expect(lock.withLock { $0 } == 1)
    }

    @Test func `a value that the lock holds is freed with it`() {
        final class Held {}
        weak var seen: Held?
        do {
            let held = Held()
            seen = held
            let lock = Lock(0)
            lock.withLock { [held] in $0 += held === seen ? 1 : 0 }
        }
        #expect(seen == nil)
    }
}

@Suite struct ConditionTests {
    @Test func `a waiter gets what another thread has put there`() throws {
        let condition = Condition<Int?>(nil)
        let thread = try NamedThread("giver") { condition.update { $0 = 7 } }
        #expect(condition.wait { $0 } == 7)
        thread.join()
    }

    @Test func `a wait that nothing ends is over at its deadline`() {
        let condition = Condition(false)
        let start = MonotonicTime.now
        let result: Bool? = condition.wait(timeout: .milliseconds(20)) { $0 ? true : nil }
        #expect(result == nil)
        #expect(start.elapsed >= .milliseconds(20))
    }

    @Test func `a deadline in the past still looks once`() {
        let condition = Condition(3)
        #expect(condition.wait(timeout: .seconds(-1)) { $0 == 3 ? $0 : nil } == 3)
    }

    @Test func `broadcast wakes every waiter`() throws {
        let condition = Condition(false)
        let woken = Lock(0)
        let threads = try (1...5).map { number in
            try NamedThread("waiter-\(number)") {
                _ = condition.wait { $0 ? true : nil }
                woken.withLock { $0 += 1 }
            }
        }
        condition.withLock { $0 = true }
        condition.broadcast()
        for thread in threads { thread.join() }
        #expect(woken.withLock { $0 } == 5)
    }
}

@Suite struct BlockingQueueTests {
    @Test func `items come out in the order they went in, however many`() {
        let queue = BlockingQueue<Int>()
        for number in 0..<5000 { queue.put(number) }
        #expect(queue.count == 5000)
        for number in 0..<5000 {
            guard case .item(number) = queue.take() else {
                Issue.record("item \(number) is missing")
                return
            }
        }
        #expect(queue.count == 0)
    }

    @Test func `a closed queue gives what it holds and refuses more`() {
        let queue = BlockingQueue<String>()
        queue.put("kept")
        queue.close()
        #expect(!queue.put("refused"))
        guard case .item("kept") = queue.take() else {
            Issue.record("the kept item is missing")
            return
        }
        guard case .closed = queue.take() else {
            Issue.record("an empty closed queue must say so")
            return
        }
    }

    @Test func `taking from an empty queue ends at the timeout`() {
        guard case .timedOut = BlockingQueue<Int>().take(timeout: .milliseconds(5)) else {
            Issue.record("nothing was there to take")
            return
        }
    }

    @Test func `closing wakes a taker that waits`() throws {
        let queue = BlockingQueue<Int>()
        let sawClose = Lock(false)
        let thread = try NamedThread("taker") {
            if case .closed = queue.take() { sawClose.withLock { $0 = true } }
        }
        queue.close()
        thread.join()
        #expect(sawClose.withLock { $0 })
    }

    @Test func `every item reaches exactly one of many takers`() throws {
        let queue = BlockingQueue<Int>()
        let taken = Lock<[Int]>([])
        let takers = try (1...4).map { number in
            try NamedThread("taker-\(number)") {
                while case .item(let item) = queue.take() { taken.withLock { $0.append(item) } }
            }
        }
        let putters = try (0..<4).map { number in
            try NamedThread("putter-\(number)") {
                for item in 0..<500 { queue.put(number * 500 + item) }
            }
        }
        for thread in putters { thread.join() }
        queue.close()
        for thread in takers { thread.join() }
        #expect(taken.withLock { $0.sorted() } == Array(0..<2000))
    }
}
