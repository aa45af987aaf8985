/// Where a task stands. The words are the product's: API, database and CLI use them as they are.
package enum TaskStatus: String, Sendable, Codable, CaseIterable {
    /// Accepted and stored; admission has not looked at it yet.
    case submitted = "SUBMITTED"
    /// Waits for a free slot, keeping its place.
    case queued = "QUEUED"
    /// Holds a slot; checks and context are being made ready, then its sandbox.
    case hydrating = "HYDRATING"
    /// An agent works on it under a lease.
    case running = "RUNNING"
    /// Like running, and at least one gate waits for a person.
    case awaitingApproval = "AWAITING_APPROVAL"
    /// Waits for money, quota, an answer or a drain: work saved, no slot, no lease.
    case parked = "PARKED"
    /// The agent is done; the platform verifies the remote and opens the pull request.
    case finalizing = "FINALIZING"
    case completed = "COMPLETED"
    case failed = "FAILED"
    case cancelled = "CANCELLED"
    case timedOut = "TIMED_OUT"

    /// True when nothing can happen to the task any more.
    package var isFinal: Bool {
        switch self {
        case .completed, .failed, .cancelled, .timedOut: true
        default: false
        }
    }

    /// True when the task counts against the user's, the repository's and the nodes' slots.
    package var holdsSlot: Bool {
        switch self {
        case .hydrating, .running, .awaitingApproval, .finalizing: true
        default: false
        }
    }

    /// True when an agent may be at work.
    package var hasAgent: Bool { self == .running || self == .awaitingApproval }
}
