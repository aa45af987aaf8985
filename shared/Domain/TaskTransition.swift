/// What can happen to a task.
package enum TaskTrigger: Sendable, Hashable, CaseIterable {
    /// Admission found no free slot.
    case slotUnavailable
    /// Admission took a slot.
    case admitted
    /// The agent asked for its session: it runs.
    case sessionStarted
    /// The lease ended or the session could not start, and attempts are left.
    case attemptLost
    /// The agent delivered a result.
    case resultReceived
    case gateOpened
    case gatesClosed
    case parked
    case woken
    /// Everything that was to be done on the outside is done.
    case completed
    /// It cannot go on; a structured error says why.
    case failed
    case cancelled
    /// Its time is up.
    case timedOut
}

/// What the move asks of whoever makes it, beside writing the new status.
package enum TaskAction: Sendable, Hashable {
    /// Tell admission that a slot is free.
    case releaseSlot
    /// End the session: its tokens and its lease.
    case endSession
    /// Write the event that tells the final state.
    case announceEnd
}

/// One permitted move: the pure half of the state machine. The database's trigger holds the same table.
package struct TaskTransition: Sendable, Hashable {
    package let from: TaskStatus
    package let to: TaskStatus

    /// The move that `trigger` makes from `from`, or nil when it is none.
    package init?(from: TaskStatus, on trigger: TaskTrigger) {
        guard let to = TaskTransition.target(from, trigger) else { return nil }
        self.from = from
        self.to = to
    }

    /// What has to happen with the move. Derived from the two ends, so no pair can be forgotten.
    package var actions: Set<TaskAction> {
        var actions: Set<TaskAction> = []
        if from.holdsSlot && !to.holdsSlot { actions.insert(.releaseSlot) }
        if from.holdsSlot && (to.isFinal || to == .queued || to == .parked) { actions.insert(.endSession) }
        if to.isFinal { actions.insert(.announceEnd) }
        return actions
    }

    private static func target(_ from: TaskStatus, _ trigger: TaskTrigger) -> TaskStatus? {
        switch (from, trigger) {
        case (.submitted, .slotUnavailable): .queued
        case (.submitted, .admitted), (.queued, .admitted): .hydrating
        case (.hydrating, .sessionStarted): .running
        case (.hydrating, .attemptLost), (.running, .attemptLost), (.awaitingApproval, .attemptLost): .queued
        case (.running, .resultReceived), (.awaitingApproval, .resultReceived): .finalizing
        case (.running, .gateOpened): .awaitingApproval
        case (.awaitingApproval, .gatesClosed): .running
        case (.running, .parked), (.awaitingApproval, .parked): .parked
        case (.parked, .woken): .queued
        case (.finalizing, .completed): .completed
        case (_, .failed) where !from.isFinal: .failed
        case (_, .cancelled) where !from.isFinal: .cancelled
        case (.running, .timedOut), (.awaitingApproval, .timedOut), (.finalizing, .timedOut): .timedOut
        default: nil
        }
    }
}
