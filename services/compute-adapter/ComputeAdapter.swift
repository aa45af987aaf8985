import Crypto
import Domain
import Lifecycle
import Postgres
import Store
import Telemetry
import Threads
import Tracing

/// Makes this node's sandboxes what the sessions in Postgres say: claims what is requested, starts it, stops what should
/// not run, and tells of what ended without a word.
///
/// Level-triggered: every pass compares the two, so neither a lost message nor a restart of this process leaves anything
/// behind. Agents outlive the adapter and are found again by name.
actor ComputeAdapter {
    private let config: ComputeConfig
    private let backend: any ComputeBackend
    private let pool: Pool
    private let readiness: Readiness?
    private let tracer: Tracer
    private let threads = IOThreads(name: "sandbox", count: 4)
    private let log: Logger
    private let collector: LogCollector
    private var meter = UsageMeter()
    private let metrics: SandboxMetrics
    private var stopping: [String: MonotonicTime] = [:]
    private var isWorking = false
    private var isPending = false

    /// Throws when the patterns of secrets do not compile, which a test of this build would have shown.
    init(
        config: ComputeConfig, backend: any ComputeBackend, pool: Pool, readiness: Readiness? = nil,
        tracer: Tracer = .off, log: Logger, metrics: Metrics = .process
    ) throws {
        self.config = config
        self.backend = backend
        self.pool = pool
        self.readiness = readiness
        self.tracer = tracer
        self.log = log
        self.metrics = SandboxMetrics(capacity: config.capacity, metrics)
        collector = try LogCollector(backend: backend, node: config.node, pool: pool, threads: threads, log: log)
    }

    /// What `bgagent doctor` tells of this node.
    func check() async -> [Check] {
        let (backend, capacity) = (self.backend, config.capacity)
        let found = try? await threads.run { (backend.check(), try? backend.running().count) }
        guard let (checks, count) = found else { return [] }
        let places = count.map { Check.passed("capacity", "\($0) of \(capacity) places taken") }
        return checks + [
            places
                ?? .failed(
                    "capacity", "running sandboxes cannot be listed", remedy: "Look at the compute adapter's log.")
        ]
    }

    /// One pass now; asks during a pass are one more pass.
    func wake() async {
        if isWorking {
            isPending = true
            return
        }
        isWorking = true
        defer { isWorking = false }
        repeat {
            isPending = false
            do { try await pass() } catch { log.warning("compute pass failed", ["error": "\(error)"]) }
        } while isPending
    }

    private func pass() async throws {
        let backend = self.backend
        // Processes first, sessions second: an agent ends its session before it ends itself.
        var running = try await look()
        let (node, name, capacity) = (config.node, backend.name, config.capacity)
        let live = try await pool.run { connection in
            try NodeStore.beat(node, backend: name, capacity: capacity, in: connection)
            return try SessionStore.live(node: node, in: connection)
        }
        let expected = Set(live.map(\.name))
        for session in live where !running.contains(session.name) { try await lost(session) }
        for name in running where !expected.contains(name) {
            if try await end(name) { running.remove(name) }
        }
        metrics.runs(running.count)
        stopping = stopping.filter { running.contains($0.key) }
        try await clear(except: running.union(expected))
        await mend()
        try await claim(room: capacity - running.count)
        // Behind the starts: nobody waits for these.
        for name in running.sorted() { try await collector.collect(name, hasEnded: false) }
        if meter.isDue(every: config.passEvery) { try await measure(running) }
    }

    /// What runs. An engine that does not say ends the pass: no session is lost for that, and no place is offered.
    private func look() async throws -> Set<String> {
        let backend = self.backend
        do {
            let running = try await threads.run { try backend.running() }
            readiness?.set("sandboxes", true)
            return running
        } catch {
            readiness?.set("sandboxes", false)
            throw error
        }
    }

    private func mend() async {
        let backend = self.backend
        do {
            try await threads.run { try backend.mend() }
        } catch {
            log.warning("sandboxes may be cut off from the agent gateway", ["error": "\(error)"])
        }
    }

    /// Frees what ended sandboxes have left, however they ended and whoever was there to see it.
    private func clear(except used: Set<String>) async throws {
        let backend = self.backend
        for name in try await threads.run({ try backend.leftovers().subtracting(used) }) {
            do {
                try await remove(name)
            } catch let error as PostgresError {
                throw error
            } catch {
                log(of: name).warning("leftovers stay", ["error": "\(error)"])
            }
        }
    }

    /// Takes what an ended sandbox has said last, then frees what it has left.
    private func remove(_ name: String) async throws {
        let backend = self.backend
        try await collector.collect(name, hasEnded: true)
        try await threads.run { try backend.remove(name) }
    }

    /// Notes what each sandbox uses; one that ended meanwhile uses nothing.
    private func measure(_ names: Set<String>) async throws {
        let backend = self.backend
        let looks = try await threads.run {
            Dictionary(
                names.compactMap { name in (try? backend.usage(name)).map { (name, $0) } },
                uniquingKeysWith: { first, _ in first })
        }
        let noted = meter.note(looks)
        guard !noted.isEmpty else { return }
        try await pool.run { try OutputStore.note(noted, in: $0) }
    }

    /// Lines about a sandbox name its task.
    private func log(of name: String) -> Logger {
        guard let (task, attempt) = SandboxName.parse(name) else { return log.with(["session": name]) }
        return log.with(["session": name, "task_id": task.rawValue, "attempt": attempt])
    }

    private func claim(room: Int) async throws {
        guard room > 0 else { return }
        let (name, node, lease) = (backend.name, config.node, Int(config.lease.inSeconds))
        let requested = try await pool.run { try SessionStore.requested(backend: name, limit: room, in: $0) }
        var claimed: [Claimed] = []
        var failure: (any Error)?
        for session in requested {
            do {
                let tokens = try SessionTokens.make()
                let hashes = try tokens.hashes()
                let (won, traceparent) = try await pool.transaction { tx -> (Bool, String) in
                    let won = try SessionStore.claim(
                        session.taskID, attempt: session.attempt, node: node, tokens: hashes, lease: lease, in: tx)
                    return (won, try TaskStore.load(session.taskID, in: tx)?.traceparent ?? "")
                }
                if won { claimed.append(Claimed(session: session, tokens: tokens, traceparent: traceparent)) }
            } catch {
                failure = error
                break
            }
        }
        // At once, as far as there are threads, because an engine takes its time for each; and whatever came after:
        // what is claimed and not started is lost at the next pass.
        await withTaskGroup(of: Void.self) { starts in
            for one in claimed { starts.addTask { await self.start(one.session, one.tokens, one.traceparent) } }
        }
        if let failure { throw failure }
    }

    private struct Claimed: Sendable {
        let session: SessionRecord
        let tokens: SessionTokens
        let traceparent: String
    }

    private func start(_ session: SessionRecord, _ tokens: SessionTokens, _ traceparent: String) async {
        var environment = config.agentEnvironment
        // An image has a search path of its own.
        if backend.name == "process" { environment["PATH"] = config.path }
        environment["LANG"] = "C.UTF-8"
        environment["BGAGENT_AGENT_GATEWAY_URL"] = config.agentGatewayURL
        environment["BGAGENT_SESSION"] = session.name
        environment["BGAGENT_TASK_ID"] = session.taskID.rawValue
        environment["BGAGENT_ATTEMPT"] = String(session.attempt)
        environment["BGAGENT_HARNESS_TOKEN"] = tokens.harness
        environment["BGAGENT_GIT_TOKEN"] = tokens.git
        environment["BGAGENT_MODEL_TOKEN"] = tokens.model
        let trace = TaskTrace(traceparent)?.session(session.attempt)
        environment["TRACEPARENT"] = trace?.traceparent ?? traceparent
        let spec = SandboxSpec(name: session.name, environment: environment)
        let backend = self.backend
        let span = tracer.begin(
            "start sandbox", in: trace,
            [
                "bgagent.task.id": .text(session.taskID.rawValue), "bgagent.attempt": SpanValue(session.attempt),
                "bgagent.backend": .text(backend.name), "bgagent.node": .text(config.node),
            ])
        do {
            try await threads.run { try backend.start(spec) }
            metrics.started()
            span?.finish()
            log(of: session.name).info("sandbox started")
        } catch {
            metrics.failed()
            span?.finish(failed: error)
            log(of: session.name).error("sandbox did not start", ["error": "\(error)"])
            try? await lost(session, reason: "The sandbox did not start: \(error)")
        }
    }

    /// A session that should run here and does not: its attempt is over.
    private func lost(_ session: SessionRecord, reason: String? = nil) async throws {
        let backend = self.backend
        let (ending, tail) = try await threads.run {
            (backend.ending(session.name), backend.logTail(session.name, bytes: 1000))
        }
        let told = reason ?? "\(ending ?? "The sandbox ended without a result.") Its last words: \(tail)"
        let voided = try await pool.transaction {
            try SessionStore.lose(session.taskID, attempt: session.attempt, reason: told, in: $0)
        }
        if voided {
            metrics.wasLost()
            log(of: session.name).warning("sandbox lost")
        }
        try? await remove(session.name)
    }

    /// Ends a sandbox whose session is over: first asked, then made to. True once it is gone.
    private func end(_ name: String) async throws -> Bool {
        let (backend, grace) = (self.backend, config.stopGrace)
        if let asked = stopping[name] {
            guard asked.elapsed > grace else { return false }
            log(of: name).warning("sandbox killed")
            try await threads.run { try backend.kill(name) }
            try await remove(name)
            metrics.wasKilled()
            return true
        }
        stopping[name] = .now
        log(of: name).info("sandbox asked to end")
        try await threads.run { try backend.stop(name) }
        return false
    }
}

/// The keys of one attempt in the clear: on their way into the sandbox, and never anywhere else.
struct SessionTokens: Sendable {
    let harness: String
    let git: String
    let model: String

    static func make() throws -> SessionTokens {
        SessionTokens(
            harness: "bgh_" + (try Random.token()), git: "bgg_" + (try Random.token()),
            model: "bgm_" + (try Random.token()))
    }

    func hashes() throws -> SessionTokenHashes {
        SessionTokenHashes(
            harness: try SHA256.hex(Array(harness.utf8)), git: try SHA256.hex(Array(git.utf8)),
            model: try SHA256.hex(Array(model.utf8)))
    }
}
