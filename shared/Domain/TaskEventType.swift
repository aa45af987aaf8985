/// The facts that a task's timeline tells. Names are binding: people filter and route by them.
package enum TaskEventType: String, Sendable, Codable, CaseIterable {
    case taskCreated = "task_created"
    case admissionQueued = "admission_queued"
    case admissionRejected = "admission_rejected"
    case preflightFailed = "preflight_failed"
    case hydrationStarted = "hydration_started"
    case hydrationCompleted = "hydration_completed"
    case guardrailBlocked = "guardrail_blocked"
    case sessionStarted = "session_started"
    case agentTurn = "agent_turn"
    case agentToolCall = "agent_tool_call"
    case agentToolResult = "agent_tool_result"
    case agentMilestone = "agent_milestone"
    case agentCostUpdate = "agent_cost_update"
    case agentError = "agent_error"
    case agentBlocked = "agent_blocked"
    case nudgeAccepted = "nudge_accepted"
    case nudgeDelivered = "nudge_delivered"
    case nudgeAcknowledged = "nudge_acknowledged"
    case nudgeWithdrawn = "nudge_withdrawn"
    case nudgeExpired = "nudge_expired"
    case statusResponse = "status_response"
    case questionAsked = "question_asked"
    case questionAnswered = "question_answered"
    case approvalRequired = "approval_required"
    case approvalDecided = "approval_decided"
    case cancelRequested = "cancel_requested"
    case prCreated = "pr_created"
    case checkpointSaved = "checkpoint_saved"
    case attemptLost = "attempt_lost"
    case budgetWarning = "budget_warning"
    case budgetExhausted = "budget_exhausted"
    case taskParked = "task_parked"
    case taskResumed = "task_resumed"
    case taskCompleted = "task_completed"
    case taskFailed = "task_failed"
    case taskCancelled = "task_cancelled"
    case taskTimedOut = "task_timed_out"
    case taskStranded = "task_stranded"
    case outcomeChanged = "outcome_changed"

    /// The events of which a finished task has exactly one.
    package static let finals: Set<TaskEventType> = [
        .taskCompleted, .taskFailed, .taskCancelled, .taskTimedOut, .taskStranded,
    ]

    /// What an agent may tell. Everything else is the platform's to say.
    package static let fromAgent: Set<TaskEventType> = [
        .agentTurn, .agentToolCall, .agentToolResult, .agentMilestone, .agentError, .agentBlocked,
    ]
}
