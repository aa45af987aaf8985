import Domain

/// What the spinner says between two events.
package struct WatchProgress: Sendable {
    private var state = "SUBMITTED"
    private var turn: Int?
    private var tool: String?
    private var cost: Double?

    package init() {}

    package mutating func take(snapshot: JSONValue) {
        state = snapshot.text("status") ?? state
        turn = snapshot.whole("turn") ?? turn
        cost = snapshot.amount("cost_usd") ?? cost
    }

    package mutating func take(event: JSONValue) {
        let metadata = event.member("metadata") ?? .object([:])
        switch event.text("event_type").flatMap(TaskEventType.init) {
        case .agentTurn:
            state = TaskStatus.running.rawValue
            turn = metadata.whole("turn") ?? turn
            tool = nil
        case .agentToolCall: tool = metadata.text("tool_name")
        case .agentToolResult: tool = nil
        case .agentCostUpdate: cost = metadata.amount("total_cost_usd") ?? metadata.amount("cost_usd") ?? cost
        case .admissionQueued: state = TaskStatus.queued.rawValue
        case .hydrationStarted: state = TaskStatus.hydrating.rawValue
        case .sessionStarted: state = TaskStatus.running.rawValue
        default: break
        }
    }

    package var line: String {
        var parts = [state]
        if let turn, turn > 0 { parts.append("turn \(turn)") }
        if let tool { parts.append(tool) }
        if let cost, cost > 0 { parts.append(Amount.dollars(cost)) }
        return Text.visible(parts.joined(separator: " · "))
    }
}
