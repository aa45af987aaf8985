import Domain
import Postgres
import Store
import Threads

/// A request to the model that is under way, and the money kept back for it.
struct ModelCall: Sendable {
    let id: String
    let taskID: TaskID
    let attempt: Int
    let estimate: USD
}

/// What a call cost.
struct ModelCost: Sendable {
    let cost: USD
    let usage: TokenUsage
    let model: String
    let isPriceKnown: Bool
    /// The model did not say; this is what was kept back for it.
    var isEstimated = false
}

/// May a call be made? Pure.
enum BudgetVerdict: Sendable, Hashable {
    case forward
    /// Others under way may use up the rest: ask again when they are done.
    case wait
    case spent

    /// A call on its own may always be made while money is left, so a budget is passed by one answer at most.
    static func decide(spent: USD, reserved: USD, estimate: USD, budget: USD?) -> BudgetVerdict {
        guard let budget else { return .forward }
        if spent >= budget { return .spent }
        if reserved == .zero { return .forward }
        return spent + reserved + estimate > budget ? .wait : .forward
    }
}

/// Money of the model, in Postgres: reserved before a call, settled after it.
///
/// A reservation is a row that its process keeps alive. A process that dies cannot say what its calls cost, so once their
/// rows are no longer kept alive they are charged by their estimate: a crash neither blocks a budget nor makes calls free.
struct ModelLedger: Sendable {
    let pool: Pool
    /// This process, told from every other.
    let gateway: String
    let life: Duration

    /// Keeps money back for a call, or says why not. The head's row lock makes calls of one task follow each other here.
    func reserve(
        _ session: SessionRecord, model: String, estimate: USD, budget: USD?
    ) throws -> (verdict: BudgetVerdict, call: ModelCall?) {
        try pool.withTransaction { tx in
            let spent = try lockHead(session.taskID, in: tx)
            let charged = try chargeDead(session.taskID, in: tx)
            let row = try tx.query(
                """
                SELECT coalesce(sum(estimate_usd * 1000000), 0)::bigint AS micros FROM model_calls
                WHERE task_id = \(session.taskID.rawValue)
                """
            ).only()
            let verdict = BudgetVerdict.decide(
                spent: spent + charged, reserved: USD(micros: try row.get("micros", as: Int64.self)),
                estimate: estimate, budget: budget)
            guard verdict == .forward else { return (verdict, nil) }
            let made = try tx.query(
                """
                INSERT INTO model_calls (task_id, attempt, gateway, model, estimate_usd, alive_until)
                VALUES (\(session.taskID.rawValue), \(session.attempt), \(gateway), \(model),
                    \(Money(micros: estimate.micros)), clock_timestamp() + make_interval(secs => \(life.inSeconds)))
                RETURNING call_id
                """
            ).only()
            let call = ModelCall(
                id: try made.get("call_id", as: String.self), taskID: session.taskID, attempt: session.attempt,
                estimate: estimate)
            return (verdict, call)
        }
    }

    /// Books what a call cost and gives back what was kept for it, in one transaction with the events that tell it.
    func settle(_ call: ModelCall, _ cost: ModelCost) throws {
        try pool.withTransaction { tx in
            let before = try lockHead(call.taskID, in: tx)
            let ended = try tx.query("DELETE FROM model_calls WHERE call_id = \(call.id)")
            // Gone: this process was taken for dead and the estimate was charged; only what goes beyond is left.
            var cost = cost
            if ended.affected == 0 {
                cost = ModelCost(
                    cost: max(.zero, cost.cost - call.estimate), usage: cost.usage, model: cost.model,
                    isPriceKnown: cost.isPriceKnown)
            }
            try book(cost, before: before, task: call.taskID, attempt: call.attempt, in: tx)
        }
    }

    /// Gives back what was kept for a call that cost nothing.
    func release(_ call: ModelCall) throws {
        try pool.withConnection { _ = try $0.query("DELETE FROM model_calls WHERE call_id = \(call.id)") }
    }

    /// Keeps this process's rows alive and charges those of dead ones. Called every quarter of `life`.
    func keep() throws {
        try pool.withConnection { connection in
            try connection.query(
                """
                UPDATE model_calls SET alive_until = clock_timestamp() + make_interval(secs => \(life.inSeconds))
                WHERE gateway = \(gateway)
                """)
            let dead = try connection.query(
                """
                SELECT DISTINCT task_id FROM model_calls
                WHERE alive_until < clock_timestamp() AND gateway <> \(gateway) ORDER BY task_id LIMIT 100
                """)
            for row in dead {
                let task: TaskID = try row.ulid("task_id")
                try connection.transaction { tx in
                    _ = try lockHead(task, in: tx)
                    _ = try chargeDead(task, in: tx)
                }
            }
        }
    }

    private func lockHead(_ task: TaskID, in tx: Connection) throws -> USD {
        let row = try tx.query(
            """
            SELECT (cost_usd * 1000000)::bigint AS micros FROM task_heads WHERE task_id = \(task.rawValue) FOR UPDATE
            """
        ).only()
        return USD(micros: try row.get("micros", as: Int64.self))
    }

    /// Charges what dead processes left behind for a task whose head is locked; returns the sum.
    private func chargeDead(_ task: TaskID, in tx: Connection) throws -> USD {
        let dead = try tx.query(
            """
            DELETE FROM model_calls
            WHERE task_id = \(task.rawValue) AND alive_until < clock_timestamp() AND gateway <> \(gateway)
            RETURNING attempt, model, (estimate_usd * 1000000)::bigint AS micros
            """)
        var sum = USD.zero
        for row in dead {
            let cost = ModelCost(
                cost: USD(micros: try row.get("micros", as: Int64.self)), usage: TokenUsage(),
                model: try row.get("model", as: String.self), isPriceKnown: true, isEstimated: true)
            let before = try lockHead(task, in: tx)
            try book(cost, before: before, task: task, attempt: try row.get("attempt", as: Int.self), in: tx)
            sum = sum + cost.cost
        }
        return sum
    }

    private func book(_ cost: ModelCost, before: USD, task: TaskID, attempt: Int, in tx: Connection) throws {
        let after = before + cost.cost
        // Read behind the head's lock: a final event that was written meanwhile is seen, and stays the last one.
        let row = try tx.query(
            """
            UPDATE task_heads h SET cost_usd = \(Money(micros: after.micros)) FROM tasks t
            WHERE h.task_id = \(task.rawValue) AND t.task_id = h.task_id
            RETURNING h.turn, is_final(t.status) AS is_final, (t.max_budget_usd * 1000000)::bigint AS budget
            """
        ).only()
        if try row.get("is_final", as: Bool.self) { return }
        let turn = try row.get("turn", as: Int.self)
        var flight = [TaskLog.event(.agentCostUpdate, of: task, attempt: attempt, told(cost, after, turn))]
        if let budget = try row.get("budget", as: Int64?.self) {
            let limits: JSONValue = [
                "cost_usd": .number(after.dollars), "max_budget_usd": .number(USD(micros: budget).dollars),
            ]
            // Money only grows, so each mark is passed once.
            if before.micros * 5 < budget * 4, after.micros * 5 >= budget * 4 {
                flight.append(TaskLog.event(.budgetWarning, of: task, attempt: attempt, limits))
            }
            if before.micros < budget, after.micros >= budget {
                flight.append(TaskLog.event(.budgetExhausted, of: task, attempt: attempt, limits))
            }
        }
        _ = try tx.pipeline(flight)
    }

    private func told(_ cost: ModelCost, _ total: USD, _ turn: Int) -> JSONValue {
        var told: [String: JSONValue] = [
            "cost_usd": .number(cost.cost.dollars), "total_cost_usd": .number(total.dollars),
            "input_tokens": .integer(cost.usage.input), "output_tokens": .integer(cost.usage.output),
            "cache_read_tokens": .integer(cost.usage.cacheRead),
            "cache_creation_tokens": .integer(cost.usage.cacheWrite), "model": .string(cost.model),
            "turn": JSONValue(turn),
        ]
        if !cost.isPriceKnown { told["price_unknown"] = true }
        if cost.isEstimated { told["estimated"] = true }
        return .object(told)
    }
}
