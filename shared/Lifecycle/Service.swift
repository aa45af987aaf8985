import Telemetry

/// A part of a process that runs as long as the process does.
package protocol Service: Sendable {
    /// What logs call it.
    var name: String { get }

    /// Works until the task it runs in is cancelled, then finishes what it has begun and returns within seconds.
    ///
    /// Returning without having been cancelled, and throwing, both end the process with exit code 1: the supervisor
    /// starts it again. So what can be mended (a lost connection) is mended in here, and what cannot is thrown.
    func run() async throws
}

/// A service made of a closure.
package struct ServiceTask: Service {
    package let name: String
    private let body: @Sendable () async throws -> Void

    /// A service that runs `body`, under the rules of `Service.run`.
    package init(_ name: String, _ body: @escaping @Sendable () async throws -> Void) {
        self.name = name
        self.body = body
    }

    package func run() async throws {
        try await body()
    }
}

/// Suspends until the current task is cancelled: the body of a service whose work is done by threads.
package func untilCancelled() async {
    let (stream, continuation) = AsyncStream.makeStream(of: Never.self)
    await withTaskCancellationHandler {
        for await _ in stream {}
    } onCancel: {
        continuation.finish()
    }
}

/// Calls `body` now and then again and again, with `interval` between the end of one call and the start of the next,
/// until the current task is cancelled. An error ends it.
///
/// A call that has begun is not interrupted: cancellation takes effect in the pause after it, unless `body` looks
/// for it on its own.
package func periodically<C: Clock>(
    every interval: Duration, clock: C = ContinuousClock(), _ body: () async throws -> Void
) async throws where C.Duration == Duration {
    while !Task.isCancelled {
        try await body()
        do {
            try await clock.sleep(for: interval)
        } catch {
            return
        }
    }
}

/// A sweep as a service: `runOnce` at a fixed pace. A pass that fails is logged, and the next one comes at its time.
///
/// Tests call the sweep's own `runOnce` and never wait for this.
package struct Periodic: Service {
    package let name: String
    private let interval: Duration
    private let log: Logger
    private let runOnce: @Sendable () async throws -> Void

    package init(
        _ name: String, every interval: Duration, log: Logger, runOnce: @escaping @Sendable () async throws -> Void
    ) {
        self.name = name
        self.interval = interval
        self.log = log
        self.runOnce = runOnce
    }

    package func run() async throws {
        try await periodically(every: interval) {
            do {
                try await runOnce()
            } catch {
                if Task.isCancelled { return }
                log.warning("\(name) failed; it runs again in \(interval)", ["error": "\(error)"])
            }
        }
    }
}
