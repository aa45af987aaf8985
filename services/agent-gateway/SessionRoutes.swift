import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry
import Threads

/// The session API: what a harness asks and tells. Each call names its attempt by its token; docs/messages.md has the
/// shapes.
struct SessionRoutes: Sendable {
    static let payloadVersion = 1
    let pool: Pool
    let access = SessionAccess()
    let intake: EventIntake
    let bundles: WorkBundles
    let leaseSeconds: Int
    let inboxPoll: Duration
    let questionPatience: Duration
    let bell: InboxBell
    let log: Logger

    func add(to router: inout Router) {
        router.on("GET", "/session") { try session($0) }
        router.on("POST", "/session/events", maxBody: 4 << 20) { try events($0) }
        router.on("POST", "/session/heartbeat") { try heartbeat($0) }
        router.on("GET", "/session/inbox") { try inbox($0) }
        router.on("POST", "/session/inbox/{id}/receipt") { try receipt($0) }
        ConversationRoutes(patience: questionPatience, pool: pool, access: access, intake: intake).add(to: &router)
        ApprovalRoutes(pool: pool, access: access, intake: intake).add(to: &router)
        router.on("POST", "/session/checkpoint") { try checkpoint($0) }
        router.on("POST", "/session/result") { try result($0) }
    }

    private func session(_ request: Request) throws -> Reply {
        try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            guard SessionRoutes.accepts(request.headers["X-Payload-Versions"]) else {
                try endForVersion(session, request.headers["X-Payload-Versions"], in: connection)
                throw Refusal(
                    status: 406, code: "PAYLOAD_VERSION_UNSUPPORTED",
                    message: "This platform sends payload version \(SessionRoutes.payloadVersion).")
            }
            let task = try connection.transaction { tx in
                let task = try access.current(session, in: tx)
                if session.state == "claimed" {
                    try SessionStore.start(session.taskID, attempt: session.attempt, in: tx)
                }
                return task
            }
            guard task.status.hasAgent else {
                // It asks until the orchestrator has seen it, and has no other heartbeat until then.
                guard
                    try SessionStore.renew(
                        session.taskID, attempt: session.attempt, lease: leaseSeconds, in: connection)
                else { throw Refusal.staleEpoch }
                return Answers.data(["state": "starting"], status: 202)
            }
            guard var payload = try SessionStore.payload(task.id, attempt: task.attempt, in: connection)?.object else {
                throw StoreError.noRow("sessions.payload")
            }
            var limits = payload["limits"]?.object ?? [:]
            limits["remaining_s"] = JSONValue(task.remainingSeconds)
            payload["limits"] = .object(limits)
            payload["cancel_requested"] = .bool(task.cancelRequested)
            payload["last_client_seq"] = .integer(session.lastClientSeq)
            try addRules(of: task, to: &payload, in: connection)
            payload["trace"] = .bool(task.settings["trace"]?.bool ?? false)
            payload["unanswered_question"] = task.settings["unanswered_question"] ?? "continue"
            if let saved = try CheckpointStore.newest(task.id, in: connection) {
                payload["checkpoint"] = [
                    "turn": JSONValue(saved.turn), "commit": .string(saved.commit),
                    "ref": .string(PushPolicy.wip(task.id)),
                ]
            }
            return Answers.data(.object(payload))
        }
    }

    /// The hard rules hold for every task. Where a repository has no gates nobody is asked, so nothing waits.
    private func addRules(
        of task: TaskRecord, to payload: inout [String: JSONValue], in connection: Connection
    ) throws {
        // An agent of an earlier release takes `policies` for gates and knows nothing of `rules`.
        payload[ApprovalStore.hasGates(task) ? "policies" : "rules"] = [
            "text": task.settings["policies"] ?? "",
            // Where nobody says, the rules do, and none of them waits longer than this.
            "approval_timeout_s": .integer(task.settings["approval_timeout_s"]?.integer ?? 3_600),
            "gates_left": JSONValue(try ApprovalStore.left(task, in: connection)),
        ]
        payload["allowances"] = .array(try ApprovalStore.allowances(task.id, in: connection).map { .string($0) })
    }

    /// True when the range `a-b` (or one number, or nothing said) holds the version that is sent.
    static func accepts(_ range: String?) -> Bool {
        guard let range else { return true }
        let ends = range.split(separator: "-").map { Int($0) ?? -1 }
        guard let low = ends.first, let high = ends.last, ends.count <= 2 else { return false }
        return low <= payloadVersion && payloadVersion <= high
    }

    private func endForVersion(_ session: SessionRecord, _ range: String?, in connection: Connection) throws {
        let failure = TaskFailure(
            code: "payload_version_unsupported", category: .config, title: "Agent and platform do not fit",
            description: "The agent understands payload versions \(range ?? "unknown"), the platform sends "
                + "\(SessionRoutes.payloadVersion).",
            remedy: "Use an agent of the same release as the platform.")
        let error = try JSONText.decode(JSONValue.self, JSONText.encode(failure))
        try connection.transaction { tx in
            try SessionStore.end(
                session.taskID, attempt: session.attempt, result: ["outcome": "failed", "error": error], in: tx)
        }
    }

    private func events(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let batch = try EventIntake.Batch(body)
        return try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            let last = try intake.take(batch, session, in: connection)
            return Answers.data(["last_client_seq": .integer(last)])
        }
    }

    private func heartbeat(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        return try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            guard try SessionStore.renew(session.taskID, attempt: session.attempt, lease: leaseSeconds, in: connection)
            else { throw Refusal.staleEpoch }
            let task = try access.current(session, in: connection)
            return Answers.data([
                "cancel_requested": .bool(task.cancelRequested), "remaining_s": JSONValue(task.remainingSeconds),
            ])
        }
    }

    /// Waits on the connection's own thread, without a database connection in between.
    private func inbox(_ request: Request) throws -> Reply {
        let wait = min(max(Int(request.queryValue("wait") ?? "") ?? 0, 0), 25)
        let deadline = Deadline.after(.seconds(wait))
        var waiting: (seat: InboxBell.Seat, task: TaskID)?
        defer { if let waiting { bell.leave(waiting.seat, waiting.task) } }
        while true {
            let (task, items) = try pool.withConnection { connection in
                let session = try access.authenticate(request, .harness, in: connection)
                let task = try access.current(session, in: connection)
                return (task.id, try InboxStore.open(task.id, attempt: session.attempt, in: connection))
            }
            if !items.isEmpty || deadline.isOver {
                return Answers.data([
                    "items": .array(
                        items.map { item in
                            var told = item.payload.object ?? [:]
                            told["id"] = .string(item.id)
                            told["kind"] = .string(item.kind)
                            return .object(told)
                        })
                ])
            }
            if let waiting {
                waiting.seat.wait(min(inboxPoll, deadline.remaining ?? inboxPoll))
            } else {
                // Looks once more from its seat: what came in between would not ring.
                waiting = (bell.sit(task), task)
            }
        }
    }

    private func receipt(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let status = try body.text("status")
        guard status == "acknowledged" || status == "delivered" else {
            throw Refusal.invalid("status: must be acknowledged or delivered")
        }
        let turn = body.value["turn"]?.integer.map { Int(min(max($0, 0), 1_000_000)) }
        return try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            let id = request.pathParameters["id"] ?? ""
            let receipt = try connection.transaction { tx in
                try InboxStore.receive(
                    id, of: try access.current(session, in: tx), isDelivered: status == "delivered", turn: turn, in: tx)
            }
            switch receipt {
            case .taken: return Answers.data(["status": .string(status)])
            case .withdrawn:
                throw Refusal(status: 409, code: "WITHDRAWN", message: "It was taken back: do not use it.")
            case .unknown: throw Refusal(status: 404, code: "NOT_FOUND", message: "There is no such item.")
            }
        }
    }

    private func checkpoint(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let commit = try body.commit("commit")
        let turn = Int(try body.integer("turn"))
        let session = try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            _ = try access.current(session, in: connection)
            return session
        }
        // Without a connection in hand: git may take a while. The row comes last, so it never tells of what is not there.
        let bundle = try bundles.saveWork(of: session.taskID, commit: commit)
        try pool.withConnection { connection in
            try connection.transaction { tx in
                // Again, and locked: the attempt may have been given up while git was at work.
                guard try SessionStore.lockLive(session.taskID, attempt: session.attempt, in: tx) != nil else {
                    throw Refusal.staleEpoch
                }
                try ArtifactRows.put(bundle, of: session.taskID, in: tx)
                _ = try CheckpointStore.save(
                    Checkpoint(attempt: session.attempt, turn: turn, commit: commit), of: session.taskID, in: tx)
            }
        }
        return Answers.data(["commit": .string(commit)])
    }

    private func result(_ request: Request) throws -> Reply {
        let body = try Fields(request)
        let outcome = try body.text("outcome")
        guard TaskOutcome(rawValue: outcome) != nil else { throw Refusal.invalid("outcome: \(outcome) is none") }
        return try pool.withConnection { connection in
            let session = try access.authenticate(request, .harness, in: connection)
            try body.requireAttempt(session)
            // A repeat after a lost answer finds the session ended, and that is an answer.
            if session.state != "ended" {
                let ended = try connection.transaction { tx in
                    _ = try access.current(session, in: tx)
                    return try SessionStore.end(
                        session.taskID, attempt: session.attempt, result: intake.redacted(body.value), in: tx)
                }
                // Nobody may hear that a result was taken which was not; a repeat that overtook this one has stored it.
                if try !ended
                    && SessionStore.load(session.taskID, attempt: session.attempt, in: connection)?.state != "ended"
                {
                    throw Refusal.staleEpoch
                }
            }
            return Answers.data(["accepted": true])
        }
    }
}
