import CMicroHTTPD
import Glibc
import HTTPTypes
import Lifecycle
import Telemetry

/// An HTTP/1.1 server over libmicrohttpd.
///
/// The socket listens from `init` on, so the port is known before the server runs; requests are taken from `start` on.
/// A crash of the process resets its connections; nothing else is left of it.
package final class Server: Service {
    private struct Running: @unchecked Sendable {
        // Sendable because the library lets any thread stop a daemon, and `state` lets one.
        let daemon: OpaquePointer
    }

    private enum State {
        case idle
        case running(Running)
        case stopped
    }

    package let name: String
    private let engine: Engine
    private let listener: ListenSocket
    private let state = Lock(State.idle)
    // The library reads them at its start, and keeps the pointers.
    private let certificate: CText?
    private let key: CText?

    /// Binds the socket.
    ///
    /// - Parameter onAccess: hears of every request that ended, on the server's threads.
    /// - Throws: `ServerError`.
    package init(
        _ config: ServerConfig, _ router: Router, name: String = "http", log: Logger,
        onAccess: (@Sendable (Access) -> Void)? = nil
    ) throws {
        self.name = name
        allowDescriptors(config.connectionLimit)
        certificate = config.tls.map { CText($0.certificate) }
        key = config.tls.map { CText($0.key) }
        engine = try Engine(config: config, router: router, log: log, onAccess: onAccess)
        listener = try ListenSocket(host: config.host, port: config.port)
    }

    deinit {
        stop()
    }

    /// The port it listens on.
    package var port: Int {
        listener.port
    }

    /// How many clients are connected.
    package var connections: Int {
        engine.watch.count
    }

    /// Serves until the task is cancelled, then stops in order.
    package func run() async throws {
        try start()
        await untilCancelled()
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let stopping = try? NamedThread("\(name)-stop") {
                self.stop()
                continuation.resume()
            }
            if stopping == nil { continuation.resume() }
        }
    }

    /// Begins to serve, on threads of its own.
    ///
    /// - Throws: `ServerError` when the threads cannot be started or the server has been started before.
    package func start() throws {
        let config = engine.config
        try state.withLock { state in
            guard case .idle = state, let socket = listener.open else { throw ServerError("started twice") }
            try engine.watch.start()
            let perConnection = config.mode == .threadPerConnection
            let daemon = bg_mhd_start(
                perConnection ? 1 : 0, socket, perConnection ? 0 : UInt32(clamping: config.threads),
                UInt32(clamping: config.connectionLimit), config.memory, perConnection ? 4 << 20 : 0,
                Unmanaged.passUnretained(engine).toOpaque(), requestAdvanced, targetReceived, requestCompleted,
                connectionChanged, keepEscapes, certificate?.pointer, key?.pointer)
            guard let daemon else {
                engine.watch.stop()
                throw ServerError(
                    config.tls == nil
                        ? "libmicrohttpd does not start"
                        : "the server does not start with this certificate and key; check that they belong together")
            }
            state = .running(Running(daemon: daemon))
        }
    }

    /// Refuses new connections, lets handlers finish within the drain time, answers what waits for a late answer with
    /// the timeout's, and ends the threads. Blocks; a second call does no harm.
    ///
    /// A handler that does not return is left behind with its thread: the process is about to end.
    package func stop() {
        let running = state.withLock { state -> Running? in
            defer { state = .stopped }
            if case .running(let running) = state { return running }
            return nil
        }
        guard let running else { return listener.close() }
        engine.beginDraining()
        refuseConnections(running)
        let left = engine.drain()
        if left > 0 {
            engine.log.error("requests are still running; their threads are left behind", ["requests": left])
            // Their callbacks still use the engine.
            _ = Unmanaged.passRetained(engine)
            return
        }
        MHD_stop_daemon(running.daemon)
        engine.watch.stop()
    }
}

extension Server {
    /// With threads that wait in epoll sets of their own, the library's own way to stop listening ends the process now and
    /// then: a thread and its caller both take the socket out of the set, and who comes second finds it gone
    /// (MHD_quiesce_daemon, 0.9.75 and later). So the socket is closed under its number there, which takes it out of all
    /// sets at once; the library closes the number with itself.
    private func refuseConnections(_ running: Running) {
        if engine.config.mode == .pool, listener.giveAwaySilenced() { return }
        // The library gives the socket back; its owner here closes it.
        _ = MHD_quiesce_daemon(running.daemon)
        listener.close()
    }
}

extension Access {
    /// Methods that are told apart; a client may invent any number of others.
    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    /// Counts requests and their seconds by method, route and status.
    package static func recorder(_ metrics: Metrics) -> @Sendable (Access) -> Void {
        let seconds = metrics.histogram(
            "bgagent_http_request_seconds", "From the end of a request's head to the last byte of its answer.",
            labels: ["method", "route", "status"])
        return { access in
            let method = methods.contains(access.method) ? access.method : "other"
            seconds.observe(access.seconds, method, access.route, String(access.status))
        }
    }
}

/// A text as C keeps it. Sendable because nobody writes to it.
private final class CText: @unchecked Sendable {
    let pointer: UnsafeMutablePointer<CChar>?

    init(_ text: String) { pointer = strdup(text) }
    deinit { free(pointer) }
}
