import Domain

/// What the orchestrator does about a command.
enum OrchestratorAction: Sendable, Hashable {
    /// Look for free slots, here or wherever the pass runs.
    case wakeAdmission
    /// Check the repository, build the context, ask for a sandbox.
    case prepare
    /// The agent is there: the task runs, and its time begins.
    case run
    /// Take the agent's result and begin to finalize.
    case accept
    /// The agent has put its work aside until somebody answers: wait without a slot.
    case park
    /// Verify the remote, open the pull request, end the task.
    case finalize
    /// The attempt is gone: the next one, or the end.
    case loseAttempt
    /// Tell the agent that its time is up, and wait a little.
    case announceTimeUp
    /// The agent did not stop by itself: the task ends without it.
    case endTimedOut
    case endCancelled
    /// Nobody has answered what it was parked on.
    case giveUpParked
    /// Nothing to do, and why.
    case ignore(String)
}

/// The state machine's brain as a value: no clock, no database, no network.
enum Decision {
    /// What a command means to a task in this state. `attempt` is the attempt that the command speaks of; what speaks of
    /// another one came too late.
    ///
    /// - Parameter outcome: of the result that the command brings.
    static func decide(
        _ command: TaskCommand, status: TaskStatus, attempt: Int, current: Int, timer: TimerKind?,
        cancelRequested: Bool, outcome: TaskOutcome? = nil
    ) -> OrchestratorAction {
        switch command {
        case .taskSubmitted, .slotFree: return .wakeAdmission
        default: break
        }
        if status.isFinal { return .ignore("the task is \(status.rawValue)") }
        if attempt != current { return .ignore("attempt \(attempt) is over, \(current) is current") }
        switch (command, status) {
        case (.taskAdmitted, .hydrating): return .prepare
        case (.sessionStarted, .hydrating): return .run
        // A cancel that came meanwhile is finalized as one.
        case (.sessionEnded, .running) where outcome == .parked && !cancelRequested,
            (.sessionEnded, .awaitingApproval) where outcome == .parked && !cancelRequested:
            return .park
        case (.sessionEnded, .running), (.sessionEnded, .awaitingApproval): return .accept
        // It ended before it was seen to run: there is nothing to verify.
        case (.sessionEnded, .hydrating): return .loseAttempt
        case (.sessionLost, .hydrating), (.sessionLost, .running), (.sessionLost, .awaitingApproval):
            return .loseAttempt
        case (.finalize, .finalizing): return .finalize
        case (.timerDue, _): return due(timer, status, cancelRequested: cancelRequested)
        default: return .ignore("\(command.rawValue) means nothing in \(status.rawValue)")
        }
    }

    private static func due(_ timer: TimerKind?, _ status: TaskStatus, cancelRequested: Bool) -> OrchestratorAction {
        switch (timer, status) {
        case (.retry, .hydrating): .prepare
        case (.retry, .finalizing): .finalize
        case (.duration, .running), (.duration, .awaitingApproval): .announceTimeUp
        case (.durationGrace, .running), (.durationGrace, .awaitingApproval): .endTimedOut
        case (.cancelGrace, .running), (.cancelGrace, .awaitingApproval), (.cancelGrace, .hydrating):
            cancelRequested ? .endCancelled : .ignore("no cancel was requested")
        case (.parked, .parked): .giveUpParked
        default: .ignore("the timer means nothing in \(status.rawValue)")
        }
    }
}
