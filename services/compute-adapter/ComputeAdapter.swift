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
    private let tracer: Tracer
    private let threads = IOThreads(name: "sandbox", count: 1)
    private let log: Logger
    private var stopping: [String: MonotonicTime] = [:]
    private var isWorking = false
    private var isPending = false

    init(config: ComputeConfig, backend: any ComputeBackend, pool: Pool, tracer: Tracer = .off, log: Logger) {
        self.config = config
        self.backend = backend
        self.pool = pool
        self.tracer = tracer
        self.log = log
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
        var running = try await threads.run { try backend.running() }
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
        stopping = stopping.filter { running.contains($0.key) }
        try await clear(except: running.union(expected))
        try await claim(room: capacity - running.count)
    }

    /// Frees what ended sandboxes have left, however they ended and whoever was there to see it.
    private func clear(except used: Set<String>) async throws {
        let (backend, log) = (self.backend, self.log)
        try await threads.run {
            for name in try backend.leftovers().subtracting(used) {
                do {
                    try backend.remove(name)
                } catch {
                    log.warning("leftovers stay", ["session": name, "error": "\(error)"])
                }
            }
        }
    }

    private func claim(room: Int) async throws {
        guard room > 0 else { return }
        let (name, node, lease) = (backend.name, config.node, Int(config.lease.inSeconds))
        let requested = try await pool.run { try SessionStore.requested(backend: name, limit: room, in: $0) }
        for session in requested {
            let tokens = try SessionTokens.make()
            let hashes = try tokens.hashes()
            let claimed = try await pool.transaction { tx -> (Bool, String) in
                let won = try SessionStore.claim(
                    session.taskID, attempt: session.attempt, node: node, tokens: hashes, lease: lease, in: tx)
                return (won, try TaskStore.load(session.taskID, in: tx)?.traceparent ?? "")
            }
            if claimed.0 { await start(session, tokens, traceparent: claimed.1) }
        }
    }

    private func start(_ session: SessionRecord, _ tokens: SessionTokens, traceparent: String) async {
        var environment = config.agentEnvironment
        environment["PATH"] = config.path
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
            span?.finish()
            log.info("sandbox started", ["session": session.name])
        } catch {
            span?.finish(failed: error)
            log.error("sandbox did not start", ["session": session.name, "error": "\(error)"])
            try? await lost(session, reason: "The sandbox did not start: \(error)")
        }
    }

    /// A session that should run here and does not: its attempt is over.
    private func lost(_ session: SessionRecord, reason: String? = nil) async throws {
        let backend = self.backend
        let tail = try await threads.run { backend.logTail(session.name, bytes: 1000) }
        let told = reason ?? "The sandbox ended without a result. Its last words: \(tail)"
        let voided = try await pool.transaction {
            try SessionStore.lose(session.taskID, attempt: session.attempt, reason: told, in: $0)
        }
        if voided { log.warning("sandbox lost", ["session": session.name]) }
        try? await threads.run { try backend.remove(session.name) }
    }

    /// Ends a sandbox whose session is over: first asked, then made to. True once it is gone.
    private func end(_ name: String) async throws -> Bool {
        let (backend, grace) = (self.backend, config.stopGrace)
        if let asked = stopping[name] {
            guard asked.elapsed > grace else { return false }
            log.warning("sandbox killed", ["session": name])
            try await threads.run {
                try backend.kill(name)
                try backend.remove(name)
            }
            return true
        }
        stopping[name] = .now
        log.info("sandbox asked to end", ["session": name])
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
