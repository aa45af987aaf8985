import Config
import Domain
import Forge
import HTTPServer
import HTTPTypes
import Postgres
import Store
import Telemetry
import Tracing

/// Real git for agents, over the task's staging repository. What may be pushed is decided by the hook.
struct GitRoutes: Sendable {
    let pool: Pool
    let access = SessionAccess()
    let staging: StagingStore
    let forges: ForgeAccess
    let tracer: Tracer
    let backend: HTTPBackend
    let maxPush: Int
    /// What the hook needs to know of this service.
    let hookEnvironment: [String: String]

    func add(to router: inout Router) {
        router.on("GET", "/git/{owner}/{name}/info/refs") { try git($0, "info/refs") }
        router.on("POST", "/git/{owner}/{name}/git-upload-pack", maxBody: 64 << 20) { try git($0, "git-upload-pack") }
        router.on("POST", "/git/{owner}/{name}/git-receive-pack", maxBody: maxPush) { try git($0, "git-receive-pack") }
    }

    private func git(_ request: Request, _ action: String) throws -> Reply {
        let (session, task) = try authorize(request)
        let asked = request.pathParameters["name"] ?? ""
        let name = asked.hasSuffix(".git") ? String(asked.dropLast(4)) : asked
        guard RepoName(owner: request.pathParameters["owner"] ?? "", name: name) == task.repo else {
            throw Refusal(status: 404, code: "NOT_FOUND", message: "This session's repository is \(task.repo).")
        }
        // Dumb HTTP would serve files without git's checks.
        let service = request.queryValue("service")
        guard action != "info/refs" || service == "git-upload-pack" || service == "git-receive-pack" else {
            throw Refusal(status: 403, code: "FORBIDDEN", message: "Only smart HTTP is spoken here.")
        }
        do {
            let credentialRef = task.settings["credential_ref"]?.string
            let forge = try forges.forge(credentialRef: credentialRef)
            _ = try staging.prepare(
                task, url: forge.cloneURL(of: task.repo), credential: .init(password: try forges.token(credentialRef)))
        } catch let error as GitError {
            throw Refusal(
                status: 503, code: "SERVICE_UNAVAILABLE", message: "The repository cannot be fetched: \(error)",
                headers: ["Retry-After": "5"])
        } catch let failure as TaskFailure {
            throw Refusal(status: 503, code: "SERVICE_UNAVAILABLE", message: failure.description)
        }
        var environment = hookEnvironment
        environment["BGAGENT_HOOK_BINARY"] = staging.hookBinary
        environment["BGAGENT_PUSH_TASK"] = session.taskID.rawValue
        environment["BGAGENT_PUSH_ATTEMPT"] = String(session.attempt)
        let span = begin(action, session, task)
        do {
            let reply = try backend.reply(
                to: request,
                at: .init(
                    root: "\(staging.directory)/staging", pathInfo: "/\(task.id).git/\(action)",
                    environment: environment))
            guard let span, case .stream(let status, let headers, let reader) = reply else { return reply }
            return .stream(status: status, headers: headers, reader: TracedReader(reader, span))
        } catch {
            span?.finish(failed: error)
            throw error
        }
    }

    /// The exchange of objects is told, the look at the branches before it is not.
    private func begin(_ action: String, _ session: SessionRecord, _ task: TaskRecord) -> LiveSpan? {
        guard action != "info/refs" else { return nil }
        return tracer.begin(
            action == "git-receive-pack" ? "git push" : "git fetch",
            in: TaskTrace(task.traceparent)?.session(session.attempt), kind: .server,
            [
                "bgagent.task.id": .text(task.id.rawValue), "bgagent.attempt": SpanValue(session.attempt),
                "vcs.repository.name": .text(task.repo.rawValue), "http.request.method": "POST",
                "http.route": .text("/git/{owner}/{name}/\(action)"),
            ])
    }

    private func authorize(_ request: Request) throws -> (SessionRecord, TaskRecord) {
        do {
            return try pool.withConnection { connection in
                let session = try access.authenticate(request, .git, in: connection)
                return (session, try access.current(session, in: connection))
            }
        } catch var refusal as Refusal where refusal.status == 401 {
            // Git sends its credential only when it is asked for one.
            refusal.headers = ["WWW-Authenticate": "Basic realm=\"bgagent\""]
            throw refusal
        }
    }
}
