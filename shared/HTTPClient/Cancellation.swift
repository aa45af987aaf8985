import CCurl
import Lifecycle

/// Ends a transfer from another thread. Outlives the transfer, so a late cancel does no harm.
final class Cancellation: @unchecked Sendable {
    // Sendable because the pointer is used under the lock alone, and the C library allows this one call from any
    // thread while the handle lives.
    private struct State {
        var isCancelled = false
        var multi: UnsafeMutableRawPointer?
    }

    private let state = Lock(State())

    var isCancelled: Bool {
        state.withLock { $0.isCancelled }
    }

    /// Makes the running wait return, and every later step of the transfer fail.
    func cancel() {
        state.withLock { state in
            state.isCancelled = true
            if let multi = state.multi { curl_multi_wakeup(multi) }
        }
    }

    /// The transfer that would have to be woken; nil once it is over.
    func attach(_ multi: UnsafeMutableRawPointer?) {
        state.withLock { $0.multi = multi }
    }
}
