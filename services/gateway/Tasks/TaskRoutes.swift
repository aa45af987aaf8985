import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry
import Tracing

/// Submitting, reading and cancelling tasks.
struct TaskRoutes: Sendable {
    let pool: Pool
    /// Where submits are read about,
    let reads: FlightGroup
    /// and made.
    let submits: GroupCommit<SubmitStore.Insert, TaskSnapshot?>
    let authenticator: Authenticator
    let gate: Gate
    let settings: GatewaySettings
    let policies: PolicyClient
    let screen: TextScreen
    let tracer: Tracer

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/tasks", summary: "Submit a task", access: .userByHandler,
                answers: [(201, .task), (200, .task)], refusals: [403, 422],
                body: { _ = TaskBody(&$0) }, handle: submit),
            Endpoint(
                method: "GET", pattern: "/v1/tasks", summary: "List tasks, newest first", answers: [(200, .taskPage)],
                query: { _ = Self.filter(&$0) }, handle: list),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}", summary: "Everything about a task",
                answers: [(200, .task)], refusals: [404], handle: show),
            Endpoint(
                method: "GET", pattern: "/v1/tasks/{task_id}/status", summary: "Where a task stands now",
                answers: [(200, .status)], refusals: [404], handle: status),
            Endpoint(
                method: "DELETE", pattern: "/v1/tasks/{task_id}", summary: "Cancel a task",
                answers: [(200, .cancelled), (202, .cancelRequested)], refusals: [403, 404, 409], handle: cancel),
        ]
    }

    // MARK: - Reading

    @Sendable private func show(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let task = try snapshot(call)
        return .response(Answer.data { $0.task(task, userSlots: settings.userSlots) })
    }

    @Sendable private func status(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let id = try call.taskID()
        let caller = try call.principal()
        let query = TaskQueries.status(id, for: caller.userID)
        return Answer.read([query], in: reads, call.request, log: policies.log) { [self] answers in
            guard let found = try answers.first.flatMap(TaskQueries.status(of:)) else { throw APIError.taskNotFound }
            try caller.require(.readTask, .task(found.standing))
            return Answer.data { $0.status(found.task, userSlots: settings.userSlots) }
        }
    }

    private func snapshot(_ call: Call) throws -> TaskSnapshot {
        let id = try call.taskID()
        let caller = try call.principal()
        guard let found = try pool.withConnection({ try TaskQueries.snapshot(id, for: caller.userID, in: $0) }) else {
            throw APIError.taskNotFound
        }
        try caller.require(.readTask, .task(found.standing))
        return found.task
    }

    @Sendable private func list(_ call: Call) throws -> Reply {
        var filter = try call.query(Self.filter)
        let caller = try call.principal()
        try caller.require(.listTasks)
        filter.viewer = caller.viewer
        let page = try pool.withConnection { try TaskQueries.list(filter, in: $0) }
        let next = page.hasMore ? page.tasks.last.map { Self.token(behind: $0) } : nil
        return .response(
            Answer.page(next: next, hasMore: page.hasMore) { writer in
                for task in page.tasks { writer.taskSummary(task) }
            })
    }

    @Sendable private static func filter(_ query: inout QueryReader) -> TaskFilter {
        var filter = TaskFilter()
        let states = TaskStatus.allCases.map(\.rawValue).joined(separator: ", ")
        filter.statuses =
            query.value(
                "status", ["type": "string"], "states, separated by commas", "holds what is none of \(states)"
            ) { text in
                let names = text.split(separator: ",", omittingEmptySubsequences: false)
                let statuses = names.compactMap { TaskStatus(rawValue: String($0)) }
                return statuses.count == names.count ? statuses : nil
            } ?? []
        filter.repo = query.value("repo", ["type": "string"], "tasks of this repository", "must be OWNER/NAME") {
            RepoName(rawValue: $0)
        }
        filter.limit = query.integer("limit", default: 20, in: 1...100, "entries of a page")
        filter.after = query.cursor("where the page before ended") { token in
            guard token.keys.count == 2, let micros = Int64(token.keys[0]), let id = TaskID(rawValue: token.keys[1])
            else { return nil }
            // Beyond what a timestamp column holds, the token is not one of ours.
            guard (0...253_402_300_799_000_000).contains(micros) else { return nil }
            return TaskCursor(createdAt: Timestamp(microseconds: micros), id: id)
        }
        return filter
    }

    private static func token(behind task: TaskSnapshot) -> String {
        PageToken(keys: ["\(task.createdAt.microseconds)", task.id.rawValue]).text
    }

    // MARK: - Submitting

    /// Only a submit that makes a task is told as a span: the first of its trace, or a part of its caller's.
    @Sendable private func submit(_ call: Call) throws -> Reply { try submit(call, retryOf: nil) }

    /// - Parameter earlier: the task whose work the new one does once more.
    @Sendable func submit(_ call: Call, retryOf earlier: TaskID?) throws -> Reply {
        let (trace, caller) = tracer.enter(call.request.headers["traceparent"])
        let span = tracer.begin(
            "POST /v1/tasks", as: trace, parentID: caller, kind: .server,
            [
                "http.request.method": "POST", "http.route": "/v1/tasks", "url.path": "/v1/tasks",
                "network.protocol.version": "1.1",
            ])
        let hash = try authenticator.tokenHash(call.request)
        let submission = Result { try Submission(call) }
        guard submission.repo != nil else {
            // Who may not come in hears nothing about the body.
            try gate.count(try authenticator.principal(call.request))
            _ = try submission.get()
            throw APIError.internalError
        }
        let submit = Submit(
            submission: try submission.get(), tokenHash: hash, retryOf: earlier, traceparent: trace.traceparent,
            span: span)
        // Nobody's thread waits while a group of submits is on its way, so a group is as large as there are callers.
        return Answer.later(call.request, within: PolicyClient.patience * 2, log: policies.log) { [self] in
            // Whoever may not submit learns nothing of the repository's rules, and of nothing else.
            let known = try context(of: submit, isFirst: true, try await reads.run(question(submit), key: hash))
            if let text = submit.submission.body.description {
                try await screen.requireLater(
                    text, from: "task", on: submit.submission.repo.rawValue, by: known.principal, call.request)
            }
            let scopes = submit.submission.body.initialApprovals
            if scopes.isEmpty, !screen.asksOutside { return try await insert(submit, known, allowing: []) }
            let allowances =
                scopes.isEmpty ? [] : try await policies.check(scopes: scopes, under: known.repo?.policies ?? "")
            // That took a while: as it stands now.
            let latest = try context(of: submit, isFirst: false, try await reads.run(question(submit), key: hash))
            return try await insert(submit, latest, allowing: allowances)
        }
    }

    /// One submit on its way.
    private struct Submit: Sendable {
        let submission: Submission
        let tokenHash: String
        let retryOf: TaskID?
        let traceparent: String
        let span: LiveSpan?
    }

    private func question(_ submit: Submit) -> [Query] {
        [
            SubmitStore.context(
                tokenHash: submit.tokenHash, repo: submit.submission.repo, key: submit.submission.key?.key,
                countUpTo: settings.maxQueuedPerUser)
        ]
    }

    /// What there is to know. Throws 401, 403, 422 and 429.
    ///
    /// - Parameters:
    ///   - isFirst: whether the request is counted here.
    ///   - answers: to `question`.
    private func context(of submit: Submit, isFirst: Bool, _ answers: [Rows]) throws -> SubmitContext {
        let repo = submit.submission.repo
        let context = try answers.first.flatMap {
            try SubmitStore.context(of: $0, isCounted: settings.maxQueuedPerUser > 0)
        }
        guard let context else { throw APIError.unauthorized }
        if isFirst { try gate.count(context.principal) }
        // What is not onboarded is answered later, for everybody alike.
        let standing = context.repo == nil ? RepoStanding(access: .open, level: nil) : context.standing
        try context.principal.require(.submitTask, .repo(standing), hidden: Submission.notOnboarded(repo))
        return context
    }

    /// Commits the task together with those of other callers.
    private func insert(
        _ submit: Submit, _ context: SubmitContext, allowing allowances: [String]
    ) async throws -> Response {
        if let earlier = context.earlier {
            return try await pool.run { try replay(earlier, submit.submission, in: $0) }
        }
        var task = try submit.submission.task(
            context, settings, allowances: allowances, traceparent: submit.traceparent)
        task.description = task.description.map(screen.redacted)
        task.retryOf = submit.retryOf
        let insert = SubmitStore.Insert(task, context, key: submit.submission.key)
        let span = tracer.begin(
            "submit", in: submit.span?.context, kind: .client,
            ["db.system.name": "postgresql", "db.operation.name": "INSERT"])
        do {
            // Who has left by now wants nothing any more.
            try Task.checkCancellation()
            guard let made = try await submits.run(insert, key: context.taskID.rawValue) else {
                throw Submission.tooMany(settings.maxQueuedPerUser)
            }
            span?.finish()
            submit.span?.finish([
                "http.response.status_code": 201, "bgagent.task.id": .text(made.id.rawValue),
                "vcs.repository.name": .text(made.repo),
            ])
            return Answer.data(status: 201) { $0.task(made, userSlots: settings.userSlots) }
        } catch let error as PostgresError where error.isUniqueViolation(of: "idempotency_keys_pkey") {
            return try await pool.run { try overtaken(submit, context, in: $0) }
        }
    }

    /// Another submit with the same key came first.
    private func overtaken(
        _ submit: Submit, _ context: SubmitContext, in connection: Connection
    ) throws -> Response {
        guard let key = submit.submission.key,
            let earlier = try SubmitStore.earlier(key.key, of: context.principal.userID, in: connection)
        else { throw APIError.unavailable }
        return try replay(earlier, submit.submission, in: connection)
    }

    private func replay(
        _ earlier: EarlierSubmit, _ submission: Submission, in connection: Connection
    ) throws -> Response {
        guard earlier.bodyHash == submission.key?.bodyHash else {
            throw APIError(
                422, "IDEMPOTENCY_KEY_REUSED", "this Idempotency-Key belongs to another body; use a new key")
        }
        guard let task = try TaskQueries.snapshot(earlier.taskID, in: connection) else { throw APIError.taskNotFound }
        return Answer.data(headers: ["Idempotent-Replay": "true"]) { $0.task(task, userSlots: settings.userSlots) }
    }

    // MARK: - Cancelling

    @Sendable private func cancel(_ call: Call) throws -> Reply {
        _ = try call.query { _ in }
        let id = try call.taskID()
        let caller = try call.principal()
        let grace = settings.cancelGraceSeconds
        for _ in 0..<3 {
            do {
                let result = try pool.withTransaction { tx -> CancelResult in
                    guard let standing = try GrantStore.standing(of: caller.userID, to: id, in: tx) else {
                        throw APIError.taskNotFound
                    }
                    try caller.require(.cancelTask, .task(standing))
                    guard let task = try TaskStore.lock(id, in: tx) else { throw APIError.taskNotFound }
                    let result = try CancelStore.cancel(task, by: caller.name, grace: grace, in: tx)
                    if !task.status.isFinal, !task.cancelRequested {
                        try AuditStore.record("task.cancel", on: id.rawValue, by: caller.userID, [:], in: tx)
                    }
                    return result
                }
                return .response(try answer(result))
            } catch StoreError.conflict {
                continue
            }
        }
        throw APIError.unavailable
    }

    private func answer(_ result: CancelResult) throws -> Response {
        switch result {
        case .ended(let task, let at):
            Answer.data { writer in
                writer.object { writer in
                    writer.member("task_id", task.id.rawValue)
                    writer.member("status", task.status.rawValue)
                    writer.member("cancelled_at", at)
                }
            }
        case .requested(let task, let at):
            Answer.data(status: 202) { writer in
                writer.object { writer in
                    writer.member("task_id", task.id.rawValue)
                    writer.member("status", task.status.rawValue)
                    writer.member("cancel_requested_at", at)
                }
            }
        case .alreadyFinal(let task):
            throw APIError.conflict("TASK_ALREADY_TERMINAL", "the task has ended as \(task.status.rawValue)")
        }
    }
}
