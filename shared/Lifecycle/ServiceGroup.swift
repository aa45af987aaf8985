import Glibc
import Telemetry

/// Runs a process's services and stops them in order.
///
/// List dependencies first: services start in list order and stop in reverse, each only after those behind it in the
/// list have ended, so that a worker can still commit through the pool it was given. On SIGTERM or SIGINT `/ready`
/// turns to no and the stopping begins; after `drain` the rest is cancelled all at once; what has not ended after
/// `giveUp` is left behind and the exit code is 1.
package struct ServiceGroup: Sendable {
    /// How long stopping may take; `giveUp` stays below the 10 s after which a supervisor kills.
    package struct Patience: Sendable {
        /// From the signal until every service is cancelled, whatever the order.
        package var drain: Duration
        /// From the signal until the process ends with what still runs.
        package var giveUp: Duration

        package init(drain: Duration = .seconds(8), giveUp: Duration = .milliseconds(9500)) {
            self.drain = drain
            self.giveUp = giveUp
        }
    }

    private enum Event: Sendable {
        case signal(String)
        case ended(Int, failure: String?)
        case cancelAll
        case timeUp
    }

    private let services: [any Service]
    private let readiness: Readiness
    private let log: Logger
    private let patience: Patience
    private let events: AsyncStream<Event>
    private let send: AsyncStream<Event>.Continuation

    package init(
        _ services: [any Service], readiness: Readiness = Readiness(), log: Logger, patience: Patience = Patience()
    ) {
        self.services = services
        self.readiness = readiness
        self.log = log
        self.patience = patience
        (events, send) = AsyncStream.makeStream()
    }

    /// Does what SIGTERM does. Safe to call at any time and more than once.
    package func stop() {
        send.yield(.signal("stop"))
    }

    /// Runs until the group has stopped, then ends the process: 0 after a signal, 1 when a service failed or hung.
    package func runAndExit() async -> Never {
        let code = await run {
            // Every thread of Swift's pool is blocked, so nobody is left to return from `run`.
            _exit(1)
        }
        fflush(nil)
        // Not exit(): its handlers tear libraries down under threads that may still use them.
        _exit(code)
    }

    /// Runs until every service has ended or the patience is over, and returns the exit code. Runs once.
    package func run() async -> Int32 {
        await run(overdue: {})
    }

    private func run(overdue: @escaping @Sendable () -> Void) async -> Int32 {
        signal(SIGPIPE, SIG_IGN)  // a peer that left is an error of the write, not the end of the process
        let watchdog = Watchdog(
            patience: patience,
            alarms: Watchdog.Alarms(
                drain: { [send] in send.yield(.cancelAll) }, giveUp: { [send] in send.yield(.timeUp) }, overdue: overdue
            ))
        defer { watchdog.finish() }
        let subscription = try? ShutdownSignals.listen { [send] number in
            send.yield(.signal(number == SIGINT ? "SIGINT" : "SIGTERM"))
            watchdog.start()  // here too, because the loop below may find no thread to run on
        }
        if subscription == nil { log.error("cannot listen for signals; SIGTERM will end the process at once") }
        defer { subscription?.cancel() }
        readiness.set("running", true)
        let tasks = services.enumerated().map { index, service in
            Task { [send] in
                do {
                    try await service.run()
                    send.yield(.ended(index, failure: nil))
                } catch {
                    send.yield(.ended(index, failure: "\(error)"))
                }
            }
        }
        log.info("started", ["services": services.map(\.name).joined(separator: " ")])
        var running = Stopping(count: services.count)
        for await event in events {
            switch event {
            case .signal(let name):
                guard !running.isStopping else { continue }
                log.info("stopping", ["reason": name])
                beginStopping(&running, tasks: tasks, watchdog: watchdog)
            case .ended(let index, let failure):
                noteEnd(of: index, failure: failure, &running, tasks: tasks, watchdog: watchdog)
            case .cancelAll:
                log.warning("draining took too long", ["still_running": names(running.stillRunning)])
                for index in running.cancelAll() { tasks[index].cancel() }
            case .timeUp:
                log.error("gave up on services that did not stop", ["still_running": names(running.stillRunning)])
                return 1
            }
            if running.isOver {
                log.info("stopped", ["exit_code": Int(running.exitCode)])
                return running.exitCode
            }
        }
        return 1
    }

    private func beginStopping(_ running: inout Stopping, tasks: [Task<Void, Never>], watchdog: Watchdog) {
        readiness.set("running", false)
        if let first = running.begin() { tasks[first].cancel() }
        watchdog.start()
    }

    private func noteEnd(
        of index: Int, failure: String?, _ running: inout Stopping, tasks: [Task<Void, Never>], watchdog: Watchdog
    ) {
        let name = services[index].name
        let wasCancelled = tasks[index].isCancelled
        if wasCancelled {
            log.debug("service stopped", ["name": name, "error": failure])
        } else {
            log.error("service ended on its own", ["name": name, "error": failure ?? "it returned"])
            running.exitCode = 1
        }
        if let next = running.ended(index) { tasks[next].cancel() }
        if !wasCancelled, !running.isStopping {
            beginStopping(&running, tasks: tasks, watchdog: watchdog)
        }
    }

    private func names(_ indices: [Int]) -> String {
        indices.map { services[$0].name }.joined(separator: " ")
    }
}
