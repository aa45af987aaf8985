import Dispatch
import FoundationEssentials
import Glibc

/// The process's own streams and signals.
package enum Terminal {
    package static var environment: [String: String] { ProcessInfo.processInfo.environment }

    /// Columns of the terminal behind stdout; COLUMNS, then 80, where it does not say.
    package static func width(_ environment: [String: String]) -> Int {
        var size = winsize()
        if ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
        return environment["COLUMNS"].flatMap { Int($0) } ?? 80
    }

    /// Writes all of it.
    /// - Returns: false when nobody reads any more.
    package static func write(_ text: String, to descriptor: Int32) -> Bool {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN {
                    var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&wait, 1, 1000)
                    continue
                }
                return false
            }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Calls `body` on Ctrl-C; a second one ends the process at once, whatever `body` is doing.
    /// - Returns: what must be kept alive for as long as Ctrl-C is to be heard.
    package static func onInterrupt(_ body: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
        signal(SIGINT, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global(qos: .userInitiated))
        source.setEventHandler {
            signal(SIGINT, SIG_DFL)
            body()
        }
        source.activate()
        return source
    }
}
