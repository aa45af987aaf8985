import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Doing the work of a task once more: a new task that asks for what the earlier one asked for, under the limits that it
/// had, on the repository as it is now. It is a submit like any other: screened, admitted and limited anew.
struct RetryRoutes: Sendable {
    let pool: Pool
    /// The submit, told whose work it does once more.
    let submit: @Sendable (Call, TaskID) throws -> Reply

    var endpoints: [Endpoint] {
        [
            Endpoint(
                method: "POST", pattern: "/v1/tasks/{task_id}/retry",
                summary: "Submit the work of a task that has ended once more", answers: [(201, .task), (200, .task)],
                refusals: [403, 404, 409, 422], handle: retry)
        ]
    }

    @Sendable private func retry(_ call: Call) throws -> Reply {
        let id = try call.taskID()
        let caller = try call.principal()
        _ = try call.query { _ in }
        let earlier = try pool.withConnection { connection in
            guard let standing = try GrantStore.standing(of: caller.userID, to: id, in: connection) else {
                throw APIError.taskNotFound
            }
            try caller.require(.steerTask, .task(standing))
            return try TaskStore.load(id, in: connection)
        }
        guard let earlier else { throw APIError.taskNotFound }
        guard earlier.status.isFinal else {
            throw APIError.conflict("TASK_NOT_OVER", "the task is \(earlier.status.rawValue); wait, or cancel it first")
        }
        var request = call.request
        request.headers["Content-Type"] = "application/json"
        request.body = .bytes(Array(Self.body(earlier).text.utf8))
        return try submit(Call(request: request, caller: caller), id)
    }

    /// What a submit of the same work sends. What people allowed its agent meanwhile is not part of it.
    private static func body(_ task: TaskRecord) -> JSONValue {
        var body: [String: JSONValue] = [
            "repo": .string(task.repo.rawValue), "max_turns": JSONValue(task.maxTurns),
            "max_duration_s": JSONValue(task.maxDurationSeconds), "notifications": task.notifications,
        ]
        if let text = task.description { body["task_description"] = .string(text) }
        if let number = task.issueNumber { body["issue_number"] = JSONValue(number) }
        if let budget = task.maxBudget { body["max_budget_usd"] = .number(budget.dollars) }
        if task.settings["trace"]?.bool == true { body["trace"] = true }
        return .object(body)
    }
}
