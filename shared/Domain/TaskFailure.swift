/// Why a task or a step of it failed, written where it happened. Never guessed from text later.
package struct TaskFailure: Error, Sendable, Codable, Hashable {
    /// Who can mend it, in the coarsest words.
    package enum Category: String, Sendable, Codable, CaseIterable {
        case auth, network, concurrency, compute, agent, guardrail, config, timeout, blocked
    }

    /// Stable, for programs: `repo_not_found`, `verification_failed`.
    package var code: String
    package var category: Category
    /// One short line for people.
    package var title: String
    /// What happened, with the particulars.
    package var description: String
    /// What a person can do about it now.
    package var remedy: String
    /// True when the same task may pass if it is tried again unchanged.
    package var retryable: Bool

    package init(
        code: String, category: Category, title: String, description: String, remedy: String, retryable: Bool = false
    ) {
        self.code = code
        self.category = category
        self.title = title
        self.description = description
        self.remedy = remedy
        self.retryable = retryable
    }
}
