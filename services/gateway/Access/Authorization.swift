import Domain
import Store

/// What somebody wants to do, as far as permission goes.
enum Verb: String, Sendable, CaseIterable {
    case submitTask, listTasks, readTask, cancelTask
    case readRepos, changeRepos
    case readAccount, manageTokens, administerUsers
    case diagnose
}

/// What permission says.
enum Verdict: Sendable, Hashable {
    case allowed
    /// They may know of the thing, and may not do this with it: 403.
    case forbidden
    /// To them the thing does not exist: 404, so that nobody learns of others' tasks by trying.
    case hidden
}

/// The one place that decides who may do what. Pure.
///
/// - Parameter owner: whose the task, account or token is; nil for what belongs to nobody.
func authorize(_ who: Principal, _ verb: Verb, owner: UserID? = nil) -> Verdict {
    if who.role == .admin { return .allowed }
    let isOwn = owner == who.userID
    switch verb {
    case .readRepos, .listTasks: return .allowed
    case .submitTask: return who.role == .member ? .allowed : .forbidden
    case .readTask: return isOwn ? .allowed : .hidden
    case .cancelTask: return isOwn ? (who.role == .member ? .allowed : .forbidden) : .hidden
    case .readAccount, .manageTokens: return isOwn ? .allowed : .forbidden
    case .changeRepos, .administerUsers: return .forbidden
    case .diagnose: return .forbidden
    }
}

extension Principal {
    /// Throws what the verdict means to a client.
    ///
    /// - Parameter hidden: the answer for what is not theirs to know of.
    func require(
        _ verb: Verb, owner: UserID? = nil, hidden: @autoclosure () -> APIError = .taskNotFound
    ) throws {
        switch authorize(self, verb, owner: owner) {
        case .allowed: return
        case .forbidden: throw APIError.forbidden("your role, \(role.rawValue), does not allow this")
        case .hidden: throw hidden()
        }
    }
}
