import CLinux
import Glibc

/// SIGTERM and SIGINT as calls on a thread of our own, for as long as somebody listens.
///
/// One thread per process reads them, started by the first listener. From then on they no longer end the process by
/// themselves: whoever listens must end it.
package enum ShutdownSignals {
    /// Ends a subscription when told to; dropping it does not.
    package struct Subscription: Sendable {
        fileprivate let number: Int

        /// No further call begins after this returns, except one that is on its way already.
        package func cancel() {
            _ = ShutdownSignals.listeners.withLock { $0.byNumber.removeValue(forKey: number) }
        }
    }

    private struct Listeners {
        var byNumber: [Int: @Sendable (Int32) -> Void] = [:]
        var last = 0
        var isReading = false
    }

    private static let listeners = Lock(Listeners())

    /// Calls `body` with each signal's number. It must return soon and may be called more than once.
    package static func listen(_ body: @escaping @Sendable (Int32) -> Void) throws -> Subscription {
        try listeners.withLock { listeners in
            if !listeners.isReading {
                let end = linux_signal_pipe([SIGTERM, SIGINT], 2)
                guard end >= 0 else { throw NamedThread.NotStarted(code: errno) }
                _ = try NamedThread("signals") { read(from: end) }
                listeners.isReading = true
            }
            listeners.last += 1
            listeners.byNumber[listeners.last] = body
            return Subscription(number: listeners.last)
        }
    }

    private static func read(from end: Int32) {
        var number: UInt8 = 0
        while true {
            let count = Glibc.read(end, &number, 1)
            if count == 1 {
                let signal = Int32(number)
                for body in listeners.withLock({ Array($0.byNumber.values) }) { body(signal) }
            } else if count == 0 || errno != EINTR {
                return
            }
        }
    }
}
