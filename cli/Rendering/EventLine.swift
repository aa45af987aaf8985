import Domain

/// One event of a task as one line: when, a mark, what.
package struct EventLine: Sendable {
    private let time: String
    private let mark: String
    private let colour: Style.Colour?
    private let text: String

    /// - Parameter event: as the API returns it.
    package init(_ event: JSONValue) {
        time = Moment.clock(Moment.date(event.text("timestamp")))
        let name = event.text("event_type") ?? "event"
        let wording = EventWording(metadata: event.member("metadata") ?? .object([:]))
        guard let type = TaskEventType(rawValue: name) else {
            (mark, colour) = ("·", nil)
            text = wording.unknown(name)
            return
        }
        (mark, colour) = Self.look(type, wording.isError)
        text = wording.text(type)
    }

    /// - Parameter width: columns to stay within; nil cuts nothing.
    package func rendered(style: Style, width: Int?) -> String {
        let plain = Text.visible(text)
        let room = width.map { max(20, $0 - 12) } ?? Int.max
        let shown = Text.truncate(plain, to: room)
        let body = colour == .dim || colour == .red || colour == .green ? style.paint(shown, colour) : shown
        return style.paint(time, .dim) + "  " + style.paint(mark, colour) + " " + body
    }

    private static func look(_ type: TaskEventType, _ isError: Bool) -> (String, Style.Colour?) {
        switch type {
        case .taskCreated, .admissionQueued, .hydrationStarted, .hydrationCompleted, .sessionStarted, .taskResumed:
            ("○", .cyan)
        case .agentTurn: ("●", .bold)
        case .agentToolCall: ("→", .cyan)
        case .agentToolResult: isError ? ("←", .red) : ("←", .dim)
        case .agentMilestone: ("◆", .cyan)
        case .agentCostUpdate, .checkpointSaved: ("·", .dim)
        case .admissionRejected, .preflightFailed, .guardrailBlocked, .agentError, .budgetExhausted, .taskFailed,
            .taskTimedOut, .taskStranded:
            ("✗", .red)
        case .agentBlocked, .attemptLost, .budgetWarning, .cancelRequested, .taskParked, .taskCancelled:
            ("!", .yellow)
        case .nudgeAccepted, .nudgeDelivered, .nudgeAcknowledged, .nudgeWithdrawn, .nudgeExpired, .statusResponse,
            .questionAnswered, .approvalDecided, .outcomeChanged:
            ("»", .cyan)
        case .questionAsked, .approvalRequired: ("?", .yellow)
        case .prCreated, .taskCompleted: ("✓", .green)
        }
    }
}
