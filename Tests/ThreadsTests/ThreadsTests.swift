import Lifecycle
import Testing

@Suite struct LockTests {
    @Test func `locks come with the Lifecycle module`() {
        let lock = Lock(1)
        #expect(lock.withLock { $0 + 1 } == 2)
    }
}
