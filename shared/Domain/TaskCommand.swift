/// What the orchestrator is asked to do. Every command names the attempt that it is about; an older one changes nothing.
package enum TaskCommand: String, Sendable, Codable, CaseIterable {
    case taskSubmitted = "task_submitted"
    /// Admission took a slot: check the repository and build the context.
    case taskAdmitted = "task_admitted"
    case slotFree = "slot_free"
    case sessionClaimed = "session_claimed"
    case sessionStarted = "session_started"
    case sessionEnded = "session_ended"
    case sessionLost = "session_lost"
    case cancelRequested = "cancel_requested"
    case gateClosed = "gate_closed"
    case questionAnswered = "question_answered"
    case timerDue = "timer_due"
    case finalize = "finalize"
}

/// Why a timer was set. One per task, attempt and kind.
package enum TimerKind: String, Sendable, Codable, CaseIterable {
    /// The task has used its time: the work is pushed, then TIMED_OUT.
    case duration
    /// A cancelled agent did not end by itself.
    case cancelGrace = "cancel_grace"
    /// The agent was told that its time is up and did not end by itself.
    case durationGrace = "duration_grace"
    /// A step is to be tried again.
    case retry
    case approval
    case ask
    case nudgeExpiry = "nudge_expiry"
    /// A task was put aside for so long that nobody is expected to answer any more.
    case parked
}
