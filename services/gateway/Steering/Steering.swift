import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// What all ways to reach a running agent have in common: who may, what text is taken, and that the task is not over.
struct Steering: Sendable {
    let pool: Pool
    /// What people write passes it before it is stored anywhere.
    let screen: TextScreen

    /// A transaction on the locked task, for somebody who may steer it. Throws 404, 403, and 409 when it is over.
    func withTask<Result>(
        _ call: Call, _ work: (TaskRecord, Principal, Connection) throws -> Result
    ) throws -> Result {
        let id = try call.taskID()
        let caller = try call.principal()
        return try pool.withTransaction { tx in
            guard let standing = try GrantStore.standing(of: caller.userID, to: id, in: tx) else {
                throw APIError.taskNotFound
            }
            try caller.require(.steerTask, .task(standing))
            guard let task = try TaskStore.lock(id, in: tx) else { throw APIError.taskNotFound }
            guard !task.status.isFinal else {
                throw APIError.conflict("TASK_ALREADY_TERMINAL", "the task has ended as \(task.status.rawValue)")
            }
            return try work(task, caller, tx)
        }
    }

    /// A read for somebody who may see the task.
    func reading<Result>(_ call: Call, _ work: (TaskID, Connection) throws -> Result) throws -> Result {
        let id = try call.taskID()
        return try reading(call, taskOf: { _ in id }, orElse: .taskNotFound, work)
    }

    /// The same for something that names its task itself.
    ///
    /// - Parameter missing: the answer where there is no such thing, and where its task is none of the caller's.
    func reading<Result>(
        _ call: Call, taskOf find: (Connection) throws -> TaskID?, orElse missing: APIError,
        _ work: (TaskID, Connection) throws -> Result
    ) throws -> Result {
        let caller = try call.principal()
        _ = try call.query { _ in }
        return try pool.withConnection { connection in
            guard let id = try find(connection),
                let standing = try GrantStore.standing(of: caller.userID, to: id, in: connection)
            else { throw missing }
            try caller.require(.readTask, .task(standing), hidden: missing)
            return try work(id, connection)
        }
    }

    /// No word reaches an agent that is being stopped.
    static func refuseStopping(_ task: TaskRecord) throws {
        if task.cancelRequested {
            throw APIError.conflict(
                "TASK_CANCELLING", "the task is being cancelled; nothing reaches its agent any more")
        }
    }

    /// A text of a person, screened, without what surrounds it and without secrets.
    ///
    /// - Parameter bytes: how long it may be; nil where its characters are counted.
    func text(_ given: String, _ name: String, most bytes: Int? = 2_048, _ call: Call) throws -> String {
        var part = given[...]
        while part.first?.isWhitespace == true { part.removeFirst() }
        while part.last?.isWhitespace == true { part.removeLast() }
        let text = screen.redacted(String(part))
        if let bytes, text.utf8.count > bytes {
            throw APIError.invalid("\(name) must have at most \(bytes) bytes, not \(text.utf8.count)")
        }
        try screen.require(
            text, from: name, on: call.path("task_id"), by: try call.principal(), call.request)
        return text
    }
}
