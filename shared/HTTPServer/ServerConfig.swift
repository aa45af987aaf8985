import Glibc
import HTTPTypes
import Lifecycle

/// How a server listens and what it puts up with.
package struct ServerConfig: Sendable {
    /// Who runs the handlers.
    package enum Mode: Sendable {
        /// A few threads share all connections: for handlers that are done in milliseconds or answer later.
        case pool
        /// Each connection has its thread: for handlers and streams that wait for something slow.
        case threadPerConnection
    }

    /// Certificate and key; nil = plain HTTP. Read once: a new certificate is a restart.
    package var tls: ServerTLS?
    /// Name or address to listen on; `0.0.0.0` or `::` for all.
    package var host = "127.0.0.1"
    /// 0 takes a free one; `Server.port` tells which.
    package var port = 0
    package var mode = Mode.pool
    /// Threads of pool mode; each may want a database connection.
    package var threads = 2
    /// Larger bodies get 413, unless a route has a limit of its own.
    package var maxBody = 1 << 20
    /// Bodies over this many bytes are kept in an unlinked file instead of memory; nil = never.
    package var spoolBodiesOver: Int?
    /// Where those files are made.
    package var spoolDirectory = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    /// More connections than this wait in the kernel's queue.
    package var connectionLimit = 12_000
    /// Bytes for a connection's buffers, which is also the longest head of a request; nil = 16 KB in pool mode, 128 KB
    /// with a thread for each connection.
    package var connectionMemory: Int?
    /// From the connect until the head of the first request is whole.
    package var headTimeout = Duration.seconds(10)
    /// From the head until the body is whole; a second more for each `bodyRate` bytes received.
    package var bodyTimeout = Duration.seconds(30)
    /// The slowest upload that is put up with, in bytes a second.
    package var bodyRate = 16 << 10
    /// From the end of a response until the head of the next request is whole.
    package var idleTimeout = Duration.seconds(60)
    /// How long a client may take none of a response's bytes.
    package var writeTimeout = Duration.seconds(60)
    /// How long `Reply.later` may take when it names no time of its own.
    package var laterTimeout = Duration.seconds(30)
    /// How long a stop waits for handlers that run.
    package var drainTimeout = Duration.seconds(8)

    package init(host: String = "127.0.0.1", port: Int = 0, mode: Mode = .pool, threads: Int = 2) {
        self.host = host
        self.port = port
        self.mode = mode
        self.threads = threads
    }

    /// How often deadlines are looked at: often enough for the shortest of them.
    var tick: Duration {
        let shortest = min(headTimeout, bodyTimeout, idleTimeout, laterTimeout, drainTimeout)
        return max(min(shortest / 8, .milliseconds(200)), .milliseconds(5))
    }

    var memory: Int {
        connectionMemory ?? (mode == .pool ? 16 << 10 : 128 << 10)
    }
}

/// A server could not start.
package struct ServerError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// A request ended: what metrics want to know.
package struct Access: Sendable {
    package let method: String
    /// The pattern of the route; empty when none matched.
    package let route: String
    /// What was answered; 499 when the client left before.
    package let status: Int
    /// From the end of the head to the last byte of the answer.
    package let seconds: Double
    /// `Request.id`, as the owner set it.
    package let requestID: String
}
