import Config
import Domain
import FoundationEssentials
import HTTPClient
import HTTPServer
import HTTPTypes
import Lifecycle
import Postgres
import Store
import Telemetry
import Threads
import Tracing

/// The model as agents see it: what the list allows, with the key added here, metered and paid from the task's budget.
struct ModelRoutes: Sendable {
    /// Tokens of answer that a reservation counts on; most answers are shorter.
    private static let expectedAnswer = 4096

    private let config: ModelConfig
    private let pool: Pool
    private let ledger: ModelLedger
    private let settlements: Settlements
    private let slots: SessionSlots
    private let rewrites: [any BodyRewrite]
    private let http: HTTPClient
    private let metrics: ModelMetrics
    private let tracer: Tracer
    private let log: Logger
    private let access = SessionAccess()
    private let threads = IOThreads(name: "model-calls", count: 1)

    /// - Parameter gateway: a name of this process that no other has, past ones included.
    init(
        _ config: ModelConfig, pool: Pool, gateway: String, caFile: String? = nil, metrics: Metrics,
        tracer: Tracer = .off, log: Logger
    ) throws {
        self.config = config
        self.pool = pool
        self.log = log
        ledger = ModelLedger(pool: pool, gateway: gateway, life: config.reservationLife)
        settlements = Settlements(ledger: ledger, log: log)
        slots = SessionSlots(limit: config.concurrency)
        rewrites = [try SecretScrub()]
        http = HTTPClient(HTTPClient.Options(name: "model", caFile: caFile))
        self.tracer = tracer
        self.metrics = ModelMetrics(metrics)
        if config.key == nil { log.warning("BGAGENT_MODEL_API_KEY is not set: agents cannot reach a model") }
    }

    func add(to router: inout Router) {
        router.on("POST", "/model/v1/messages", maxBody: config.maxBody) { answer($0, isCount: false) }
        router.on("POST", "/model/v1/messages/count_tokens", maxBody: config.maxBody) { answer($0, isCount: true) }
    }

    /// Keeps reservations alive, books what could not be booked at once, and charges what dead processes left.
    var service: any Service {
        Periodic("model calls", every: min(config.reservationLife / 4, .seconds(5)), log: log) {
            try await threads.run { try settlements.keep() }
        }
    }

    private func answer(_ request: Request, isCount: Bool) -> Reply {
        do {
            return try isCount ? count(request) : message(request)
        } catch {
            let refusal = ModelRefusal(error)
            if refusal.status >= 500 {
                log.warning("a model request failed", ["error": "\(error)", "request_id": request.id])
            }
            metrics.refused(refusal)
            return .response(refusal.response)
        }
    }

    private func authorize(_ request: Request) throws -> (SessionRecord, TaskRecord) {
        let found = try pool.withConnection { connection in
            let session = try access.authenticate(request, .model, in: connection)
            return (session, try access.current(session, in: connection))
        }
        guard config.key != nil else {
            throw ModelRefusal(
                status: 403, type: "permission_error", message: "This platform has no model key configured.")
        }
        return found
    }

    private func check(_ request: Request, _ task: TaskRecord, isCount: Bool) throws -> (ModelRequest, [UInt8]) {
        let bytes = try request.body.load()
        do {
            let body = try JSONScan.read(bytes)
            let rules = ModelRules(models: [task.model] + config.smallModels, maxTokens: config.maxTokens)
            let checked = try ModelRequest.check(body, bytes: bytes, rules: rules, isCount: isCount)
            let edits = try rewrites.reduce(checked.edits) { try $0 + $1.edits(body, bytes: bytes) }
            return (checked, BodyEdit.apply(edits, to: bytes))
        } catch let fault as JSONFault {
            throw ModelRefusal.invalid("The body is not JSON: \(fault.reason) at byte \(fault.offset).")
        } catch let fault as ModelRequest.Fault {
            throw ModelRefusal.invalid(fault.message)
        }
    }

    private func count(_ request: Request) throws -> Reply {
        let (session, task) = try authorize(request)
        guard slots.take(session.name) else { throw ModelRefusal.tooMany("Too many requests at once.") }
        defer { slots.give(session.name) }
        let (_, body) = try check(request, task, isCount: true)
        var forward = upstream(request, "/v1/messages/count_tokens", body)
        forward.timeout = config.silence
        let response = try http.sendBlocking(forward)
        return .response(
            Response(status: response.status, headers: ModelRoutes.passed(response.headers), body: response.body))
    }

    private func message(_ request: Request) throws -> Reply {
        let (session, task) = try authorize(request)
        guard slots.take(session.name) else {
            throw ModelRefusal.tooMany("At most \(config.concurrency) requests of one session at once.")
        }
        let call: OpenCall
        do {
            let (checked, body) = try check(request, task, isCount: false)
            let (price, _) = config.prices.price(of: checked.model)
            let sent = TokenUsage(input: Int64(body.count / 4))
            var expected = sent
            expected.output = Int64(min(checked.maxTokens, ModelRoutes.expectedAnswer))
            let (verdict, made) = try ledger.reserve(
                session, model: checked.model, estimate: price.cost(of: expected), budget: task.maxBudget)
            guard let made else {
                throw verdict == .spent
                    ? ModelRefusal.overBudget
                    : .tooMany("Requests under way may use up the budget; wait for them.")
            }
            call = OpenCall(
                call: made, request: checked, sent: sent, body: body, started: .now, prices: config.prices,
                settlements: settlements, metrics: metrics, span: begin(checked, session, task),
                giveBack: { slots.give(session.name) })
        } catch {
            slots.give(session.name)
            throw error
        }
        do {
            return try forward(request, call)
        } catch {
            call.fail(status: ModelRefusal(error).status)
            throw error
        }
    }

    private func begin(_ request: ModelRequest, _ session: SessionRecord, _ task: TaskRecord) -> LiveSpan? {
        tracer.begin(
            "chat \(request.model)", in: TaskTrace(task.traceparent)?.session(session.attempt), kind: .client,
            [
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
                "gen_ai.request.model": .text(request.model), "gen_ai.request.max_tokens": SpanValue(request.maxTokens),
                "bgagent.task.id": .text(session.taskID.rawValue), "bgagent.attempt": SpanValue(session.attempt),
            ])
    }

    private func forward(_ request: Request, _ call: OpenCall) throws -> Reply {
        var forward = upstream(request, "/v1/messages", call.body)
        forward.timeout = .zero
        forward.idleTimeout = config.silence
        let response = try http.stream(forward)
        let headers = ModelRoutes.passed(response.headers)
        guard (200..<300).contains(response.status) else {
            // A refusal costs nothing and is passed on as it is: the client knows what each means.
            defer { response.close() }
            let body = try ModelRoutes.read(response, limit: 1 << 20)
            call.fail(status: response.status)
            return .response(Response(status: response.status, headers: headers, body: body))
        }
        guard call.request.isStream else {
            defer { response.close() }
            let body = try ModelRoutes.read(response, limit: 64 << 20)
            var meter = UsageMeter()
            meter.take(message: body)
            call.settle(meter, status: response.status)
            return .response(Response(status: response.status, headers: headers, body: body))
        }
        let status = response.status
        return .stream(
            status: status, headers: headers,
            reader: ModelStream(response) { meter in call.settle(meter, status: status) })
    }

    private static func read(_ response: StreamingResponse, limit: Int) throws -> [UInt8] {
        var body: [UInt8] = []
        while let part = try response.read() {
            body += part
            if body.count > limit { throw ModelRefusal.overloaded("The model's answer is too large.") }
        }
        return body
    }

    private func upstream(_ request: Request, _ path: String, _ body: [UInt8]) -> ClientRequest {
        let query = request.rawQuery.isEmpty ? "" : "?\(request.rawQuery)"
        var forward = ClientRequest(
            method: "POST", url: config.url + path + query, body: body, connectTimeout: config.connectTimeout)
        forward.headers = ["x-api-key": config.key?.revealed ?? "", "Content-Type": "application/json"]
        for name in ["anthropic-version", "anthropic-beta", "User-Agent", "Accept"] {
            for value in request.headers.values(of: name) { forward.headers.append((name: name, value: value)) }
        }
        // A kept connection that died is tried again on a new one: asking a model twice changes nothing outside.
        forward.mayRepeat = true
        return forward
    }

    /// What belongs to the connection upstream stays there.
    private static func passed(_ headers: Headers) -> Headers {
        let own: Set<String> = [
            "connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "set-cookie",
            "proxy-authenticate", "trailer", "upgrade", "alt-svc", "strict-transport-security",
        ]
        var passed = Headers()
        for field in headers where !own.contains(field.name.lowercased()) { passed.append(field) }
        return passed
    }
}
