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
    let retention: Retention
    let retentionEvery: Duration
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
        retentionEvery = environment.duration(
            "BGAGENT_RETENTION_EVERY", default: .seconds(3600), in: .seconds(1) ... .seconds(86_400),
            "how often old rows are looked for")
        retention = Self.retention(&environment)
    }

    /// A minute at least: longer than a message is under way.
    private static func retention(_ environment: inout Environment) -> Retention {
        func keep(_ name: String, days: Int, _ purpose: String) -> Duration {
            environment.duration(
                name, default: .seconds(days * 86_400), in: .seconds(60) ... .seconds(36_500 * 86_400), purpose)
        }
        return Retention(
            tasks: keep("BGAGENT_KEEP_TASKS", days: 90, "how long tasks and their events are kept after the end"),
            ledger: keep(
                "BGAGENT_KEEP_LEDGER", days: 90, "how long settled effects are kept, once their task has ended"),
            conversation: keep(
                "BGAGENT_KEEP_CONVERSATION", days: 30,
                "how long nudges, questions and approvals are kept, once their task has ended"),
            idempotencyKeys: keep(
                "BGAGENT_KEEP_IDEMPOTENCY_KEYS", days: 1,
                "how long a submit's Idempotency-Key is known; of a task under way always"),
            sessions: keep("BGAGENT_KEEP_SESSIONS", days: 7, "how long logins are listed after their end"),
            deadLetters: keep(
                "BGAGENT_KEEP_DEAD_LETTERS", days: 90, "how long replayed and dropped dead letters are kept"),
            deleted: keep(
                "BGAGENT_KEEP_DELETED", days: 90,
                "how long it is known that a task was deleted, so that a late message of it does no harm"))
    }
}
