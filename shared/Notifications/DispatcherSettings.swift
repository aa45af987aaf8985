import Config
import Domain

/// How a dispatcher works; the defaults are the product's.
package struct DispatcherSettings: Sendable {
    /// How long one process may hold an effect that it is sending.
    package var lease: Duration = .seconds(60)
    /// How long a send without an answer is left alone before it is looked up.
    package var settle: Duration = .seconds(30)
    /// How often the ledger is looked at for what no message told of: retries, look-ups, leases that ran out.
    package var passEvery: Duration = .seconds(1)
    /// Lanes at work at once.
    package var width = 16
    package var retry = RetryPolicy(base: .seconds(1), cap: .seconds(300), maxAttempts: 20)

    package init() {}

    package init(_ environment: inout Environment) {
        lease = environment.duration(
            "BGAGENT_DISPATCH_LEASE", default: .seconds(60), in: .seconds(1)...(.seconds(3600)),
            "how long one dispatcher may hold a notification that it is sending")
        settle = environment.duration(
            "BGAGENT_DISPATCH_SETTLE", default: .seconds(30), in: .zero...(.seconds(3600)),
            "how long a send without an answer is left alone before it is looked up")
        passEvery = environment.duration(
            "BGAGENT_DISPATCH_PASS", default: .seconds(1), in: .milliseconds(10)...(.seconds(60)),
            "how often the ledger is looked at for retries and look-ups that are due")
        width = environment.int(
            "BGAGENT_DISPATCH_LANES", default: 16, in: 1...256, "notifications sent at once by one dispatcher")
        retry.maxAttempts = environment.int(
            "BGAGENT_DISPATCH_ATTEMPTS", default: 20, in: 1...1000, "tries before a notification is given up")
    }
}

/// What a dispatcher's process is told.
struct DispatcherConfig<Channel: NotificationChannel>: Sendable {
    let service: ServiceConfig
    let settings: DispatcherSettings
    let channel: Channel

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "dispatch-\(Channel.name)")
        settings = DispatcherSettings(&environment)
        channel = Channel(&environment, service)
    }
}
