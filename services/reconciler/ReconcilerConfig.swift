import Config
import Lifecycle
import Threads

/// When the reconciler looks, and how long it waits before it steps in.
struct ReconcilerConfig: Sendable {
    let service: ServiceConfig
    let lease: Duration
    let leaseCheck: Duration
    let strandedAfter: Duration
    let strandedCheck: Duration
    let queueLimit: Duration
    let finalizeTries: Int
    let recountEvery: Duration
    let gaugesEvery: Duration
    let userSlots: Int
    let nodeSilence: Int

    init(_ environment: inout Environment) {
        service = ServiceConfig(&environment, name: "reconciler", amqp: false)
        lease = environment.duration(
            "BGAGENT_LEASE", default: .seconds(60), "life of a session's lease; agents renew it by heartbeat")
        leaseCheck = environment.duration(
            "BGAGENT_LEASE_CHECK", default: .seconds(5), "how often expired leases are looked for")
        strandedAfter = environment.duration(
            "STRANDED_TIMEOUT_SECONDS", default: .seconds(1200), "a task without a lease may stand still for so long")
        strandedCheck = environment.duration(
            "BGAGENT_STRANDED_CHECK", default: .seconds(300), "how often stranded tasks are looked for")
        queueLimit = environment.duration(
            "BGAGENT_QUEUE_LIMIT", default: .seconds(86_400), "a task that waited so long for a slot fails")
        finalizeTries = environment.int(
            "BGAGENT_FINALIZE_TRIES", default: 5, in: 1...20, "times a stale finalization is commanded again")
        recountEvery = environment.duration(
            "BGAGENT_RECOUNT_EVERY", default: .seconds(900), "how often slot counters are compared with the tasks")
        gaugesEvery = environment.duration(
            "BGAGENT_GAUGES_EVERY", default: .seconds(5), "how often the metrics of the whole platform are read")
        // As admission knows them: only to tell how full it is.
        userSlots = environment.int(
            "BGAGENT_USER_SLOTS", default: 3, in: 1...1000, "tasks of one user at work at once")
        nodeSilence = environment.int(
            "BGAGENT_NODE_SILENCE_SECONDS", default: 30, in: 1...3600,
            "a compute node not heard of for so long offers no places")
    }
}
