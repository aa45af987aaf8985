import Domain
import HTTPServer
import HTTPTypes
import Postgres
import Store

/// Somebody who waits for what a task will tell. Whether they may see it is looked at again when there is something to
/// see: a grant may have been taken away meanwhile.
struct Asker: Sendable {
    let principal: Principal
    /// Under which a refusal can be found in the log.
    let requestID: String

    init(_ call: Call) throws {
        principal = try call.principal()
        requestID = call.request.id
    }

    /// What they hear when the task is not theirs to see any more.
    var refusal: Response {
        var request = Request(method: "GET", target: "/")
        request.id = requestID
        return Answer.error(.taskNotFound, request)
    }

    /// Who of them may read the task now.
    static func allowed(
        _ askers: Set<Principal>, to task: TaskID, in connection: Connection
    ) throws -> Set<Principal> {
        let standings = try GrantStore.standings(of: askers.map(\.userID), to: task, in: connection)
        return askers.filter { asker in
            standings[asker.userID].map { authorize(asker, .readTask, .task($0)) == .allowed } ?? false
        }
    }
}
