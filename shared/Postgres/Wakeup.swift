import CLinux
import Glibc
import Threads

/// A descriptor that another thread makes readable, so that a `poll` on a socket can be ended from outside.
final class Wakeup: Sendable {
    let descriptor: Int32

    init() throws {
        descriptor = linux_eventfd()
        guard descriptor >= 0 else {
            throw PostgresError(.connectFailed, "no descriptor is left: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }

    /// Ends the current or the next `wait`.
    func wake() {
        linux_eventfd_wake(descriptor)
    }

    /// Waits until `wake` was called, the socket has something to say, or the time is up.
    ///
    /// - Parameter socket: -1 when there is none.
    /// - Returns: true when the socket has something to say.
    func wait(socket: Int32 = -1, timeout: Duration?) -> Bool {
        var entries = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
        ]
        let milliseconds = timeout.map { Int32(clamping: $0.wholeMilliseconds + 1) } ?? -1
        guard poll(&entries, 2, milliseconds) > 0 else { return false }
        if entries[0].revents != 0 { _ = linux_eventfd_drain(descriptor) }
        return entries[1].revents != 0
    }
}
