import CLinux
import Glibc

/// A thread of our own: where C libraries may block without stopping Swift's cooperative pool.
package final class NamedThread: Sendable {
    /// The system would not start another thread.
    package struct NotStarted: Error, CustomStringConvertible {
        /// The reason as errno.
        package let code: Int32
        package init(code: Int32) {
            self.code = code
        }

        /// The reason in words.
        package var description: String {
            "cannot start a thread: \(String(cString: strerror(code)))"
        }
    }

    private final class Start {
        let name: String
        let body: @Sendable () -> Void
        let ended: Condition<Bool>

        init(name: String, body: @escaping @Sendable () -> Void, ended: Condition<Bool>) {
            self.name = name
            self.body = body
            self.ended = ended
        }
    }

    private let ended = Condition(false)

    /// Starts a thread that runs `body` once.
    ///
    /// - Parameter name: shown by `top -H` and in core dumps; the first 15 bytes are kept.
    /// - Parameter body: holds what it captures until it returns; the thread does not end by dropping this object.
    package init(_ name: String, _ body: @escaping @Sendable () -> Void) throws {
        let start = Start(name: name, body: body, ended: ended)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(start)
        let code = pthread_create(&thread, nil, NamedThread.main, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw NotStarted(code: code)
        }
        pthread_detach(thread)
    }

    /// Blocks until `body` has returned. Never call it from the thread itself, nor on the cooperative pool.
    package func join() {
        _ = ended.wait { $0 ? true : nil }
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
        linux_set_thread_name(start.name)
        start.body()
        start.ended.update { $0 = true }
        return nil
    }
}
