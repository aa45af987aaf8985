import Domain
import Store

/// Who of those that may steer a task may also say yes for it, as its repository said when it was submitted.
///
/// Only a yes is bound: whoever may steer may always say no.
struct ApprovalRules: Sendable {
    private let owner: UserID
    /// Names; empty = everybody who may steer.
    private let approvers: [String]
    private let needsSecondPerson: Bool

    init(_ task: TaskRecord) {
        self.init(
            owner: task.userID, approvers: task.settings["approvers"]?.array?.compactMap(\.string) ?? [],
            needsSecondPerson: task.settings["second_person"]?.bool ?? false)
    }

    init(owner: UserID, approvers: [String], needsSecondPerson: Bool) {
        self.owner = owner
        self.approvers = approvers
        self.needsSecondPerson = needsSecondPerson
    }

    /// Throws 403 with who may.
    func require(allows: Bool, by caller: Principal) throws {
        guard allows else { return }
        // No role stands above this one: that nobody approves their own work is the point of it.
        if needsSecondPerson, caller.userID == owner {
            throw APIError(
                403, "SECOND_PERSON_REQUIRED",
                "this repository wants somebody other than the task's owner to approve; you may deny")
        }
        guard approvers.isEmpty || caller.role == .admin || approvers.contains(caller.name) else {
            throw APIError.forbidden(
                "in this repository only \(approvers.joined(separator: ", ")) may approve; you may deny")
        }
    }
}
