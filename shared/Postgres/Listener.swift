import Lifecycle
import Telemetry
import Threads

/// Hears NOTIFY on one channel, over a connection and a thread of its own, and connects again when that breaks.
///
/// Notifications are hints: the server keeps none for a listener that is away, and they are dropped when nobody reads
/// them in time. So every (re)connection yields an empty payload, which means "look at everything", and the reader
/// must find its work in the tables in any case.
package final class Listener: Service {
    /// What logs call it.
    package let name: String
    /// Payloads as they come; empty after each connection. For one reader. Finishes when `run` has returned.
    package let notifications: AsyncStream<String>

    private let continuation: AsyncStream<String>.Continuation
    private let config: PostgresConfig
    private let channel: String
    private let backoff: Backoff
    private let log: Logger
    private let wakeup: Wakeup
    private let isStopping = Lock(false)

    /// A listener that does nothing until `run`.
    ///
    /// - Parameter kept: how many unread payloads are kept; the oldest give way.
    /// - Throws: when the process has no descriptor left.
    package init(
        _ config: PostgresConfig, channel: String, kept: Int = 1024,
        backoff: Backoff = Backoff(initial: .milliseconds(50), cap: .seconds(2)), log: Logger = .silent
    ) throws {
        self.config = config
        self.channel = channel
        self.backoff = backoff
        self.log = log
        name = "listener \(channel)"
        wakeup = try Wakeup()
        (notifications, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(kept))
    }

    /// Listens until the task is cancelled. Once only: a stream that has finished does not begin again.
    package func run() async throws {
        defer { continuation.finish() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
                do {
                    _ = try NamedThread("pg-listener") {
                        self.listen()
                        ended.resume()
                    }
                } catch {
                    ended.resume(throwing: error)
                }
            }
        } onCancel: {
            isStopping.withLock { $0 = true }
            wakeup.wake()
        }
    }

    private var mayGoOn: Bool {
        isStopping.withLock { !$0 }
    }

    private func listen() {
        var failures = 0
        while mayGoOn {
            do {
                let connection = try Connection(config)
                try connection.query("LISTEN \(identifier: channel)")
                failures = 0
                continuation.yield("")
                while mayGoOn {
                    guard let arrived = connection.takeNotifications() else {
                        throw PostgresError(.connectionLost, "the server closed the listener's connection")
                    }
                    for notification in arrived { continuation.yield(notification.payload) }
                    _ = wakeup.wait(socket: connection.socket, timeout: nil)
                }
            } catch {
                failures += 1
                let pause = backoff.delay(afterFailures: failures)
                log.warning("not listening", ["channel": channel, "error": "\(error)", "next_try_s": pause.inSeconds])
                // A wake-up while we wait can only mean "stop".
                if mayGoOn { _ = wakeup.wait(timeout: pause) }
            }
        }
    }
}
