import Domain
import Store

/// What somebody wants to do, as far as permission goes.
enum Verb: String, Sendable, CaseIterable {
    case submitTask, listTasks, readTask, cancelTask
    /// Speak to its agent, ask it, answer it, have its work done once more.
    case steerTask
    case listRepos, readRepos, changeRepos
    case readAccount, manageTokens, administerUsers
    case operate, diagnose
}

/// What it is done to.
enum Subject: Sendable {
    /// Nothing in particular.
    case platform
    /// An account, or what belongs to it; nil = there is none.
    case account(UserID?)
    /// A repository, as the asker stands to it.
    case repo(RepoStanding)
    /// A task, as the asker stands to it.
    case task(TaskStanding)
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
/// A role is the upper bound, a grant opens one repository below it. In a restricted repository everything goes by the
/// grant, the asker's own tasks included. A verb on a subject that it was not meant for is refused.
func authorize(_ who: Principal, _ verb: Verb, _ subject: Subject = .platform) -> Verdict {
    if who.role == .admin { return .allowed }
    let isMember = who.role == .member
    switch (verb, subject) {
    case (.listTasks, _), (.listRepos, _):
        return .allowed
    case (.readRepos, .repo(let standing)):
        return standing.access == .open || standing.level != nil ? .allowed : .hidden
    case (.submitTask, .repo(let standing)):
        guard isMember else { return .forbidden }
        if standing.access == .restricted, standing.level == nil { return .hidden }
        return standing.access == .open || standing.reaches(.submit) ? .allowed : .forbidden
    case (.readTask, .task(let standing)):
        return who.sees(standing) ? .allowed : .hidden
    case (.cancelTask, .task(let standing)), (.steerTask, .task(let standing)):
        guard who.sees(standing) else { return .hidden }
        let isTheirs = standing.owner == who.userID || standing.repo.reaches(.steer)
        return isMember && isTheirs ? .allowed : .forbidden
    case (.readAccount, .account(let owner)), (.manageTokens, .account(let owner)):
        return owner == who.userID ? .allowed : .forbidden
    case (.readTask, _), (.cancelTask, _), (.steerTask, _), (.readRepos, _):
        return .hidden
    case (.submitTask, _), (.changeRepos, _), (.readAccount, _), (.manageTokens, _), (.administerUsers, _),
        (.operate, _), (.diagnose, _):
        return .forbidden
    }
}

extension RepoStanding {
    /// Whether the grant reaches a level; none reaches none.
    fileprivate func reaches(_ needed: GrantLevel) -> Bool {
        guard let level else { return false }
        return level >= needed
    }
}

extension Principal {
    /// Whether the task exists for them.
    fileprivate func sees(_ task: TaskStanding) -> Bool {
        task.repo.level != nil || (task.owner == userID && task.repo.access == .open)
    }

    /// Whose view of lists theirs is; nil = everybody's.
    var viewer: UserID? { role == .admin ? nil : userID }

    /// Throws what the verdict means to a client.
    ///
    /// - Parameter hidden: the answer for what is not theirs to know of.
    func require(
        _ verb: Verb, _ subject: Subject = .platform, hidden: @autoclosure () -> APIError = .taskNotFound
    ) throws {
        switch authorize(self, verb, subject) {
        case .allowed: return
        case .forbidden: throw APIError.forbidden(refusal(subject))
        case .hidden: throw hidden()
        }
    }

    private func refusal(_ subject: Subject) -> String {
        let standing: RepoStanding? =
            switch subject {
            case .repo(let standing): standing
            case .task(let standing): standing.repo
            case .platform, .account: nil
            }
        guard role == .member, let standing else { return "your role, \(role.rawValue), does not allow this" }
        let grant = standing.level.map { "'\($0.rawValue)'" } ?? "none"
        return "your grant on this repository, \(grant), does not allow this; an administrator can raise it"
    }
}
