import Domain
import Postgres
import Store
import Telemetry
import Tracing

/// A task's stored times as spans: the task, its waits, its sessions, and what the agent did. Pure.
///
/// The agent's spans are made of its events. Those are stored when the platform takes them, up to 100 ms after they
/// happened; how long a tool ran the agent says itself.
struct TimelineSpans {
    private static let platform = "bgagent"
    private static let agent = "agent"
    /// Milestones that begin a step, with its name.
    private static let begins = [
        "step:clone:start": "clone", "step:setup:start": "setup", "step:agent:start": "work",
        "verify_started": "verify", "step:push:start": "push",
    ]
    /// Milestones that end a step of that name.
    private static let ends = [
        "repo_cloned": "clone", "repo_setup_complete": "setup", "agent_execution_complete": "work",
        "verify_passed": "verify", "verify_failed": "verify", "step:push:complete": "push",
    ]

    private let timeline: TaskTimeline
    private let trace: TaskTrace
    private var spans: [Span] = []

    /// Nothing when the trace is not recorded.
    static func of(_ timeline: TaskTimeline) -> [Span] {
        guard let trace = TaskTrace(timeline.traceparent) else { return [] }
        var made = TimelineSpans(timeline, trace)
        made.tellTask()
        made.tellAdmission()
        for session in timeline.sessions { made.tell(session) }
        return made.spans
    }

    private init(_ timeline: TaskTimeline, _ trace: TaskTrace) {
        self.timeline = timeline
        self.trace = trace
    }

    private mutating func tellTask() {
        let task = timeline
        spans.append(
            Span(
                "task", trace.task, parent: trace.request.spanID, from: .init(task.createdAt),
                to: .init(task.completedAt),
                [
                    "bgagent.task.id": .text(task.id.rawValue), "bgagent.task.status": .text(task.status),
                    "bgagent.task.outcome": task.outcome.map { .text($0) }, "bgagent.workflow": .text(task.workflow),
                    "bgagent.attempts": SpanValue(task.attempts), "bgagent.turns": SpanValue(task.turns),
                    "bgagent.cost_usd": .number(Double(task.costMicros) / 1_000_000),
                    "vcs.repository.name": .text(task.repo), "gen_ai.request.model": .text(task.model),
                ],
                errorType: task.status == "FAILED" || task.status == "TIMED_OUT"
                    ? task.errorCode ?? task.status.lowercased() : nil,
                service: Self.platform))
    }

    /// The wait for a slot, of each attempt: from the submit or the loss of the one before.
    private mutating func tellAdmission() {
        var since = timeline.createdAt
        var attempt = 1
        var isWaiting = true
        for event in timeline.events {
            switch event.type {
            case "hydration_started" where isWaiting:
                admission(attempt, from: since, to: event.at)
                isWaiting = false
            case "attempt_lost":
                since = event.at
                attempt = event.attempt + 1
                isWaiting = attempt <= timeline.attempts
            default: break
            }
        }
        if isWaiting { admission(attempt, from: since, to: timeline.completedAt) }
    }

    private mutating func admission(_ attempt: Int, from: Timestamp, to: Timestamp) {
        spans.append(
            Span(
                "admission", trace.task.part("admission \(attempt)"), parent: trace.task.spanID, from: .init(from),
                to: .init(to), ["bgagent.attempt": SpanValue(attempt)], service: Self.platform))
    }

    private mutating func tell(_ session: TaskTimeline.Session) {
        let context = trace.session(session.attempt)
        let end = session.endedAt ?? timeline.completedAt
        let isLost = timeline.events.contains { $0.type == "attempt_lost" && $0.attempt == session.attempt }
        spans.append(
            Span(
                "session", context, parent: trace.task.spanID, from: .init(session.requestedAt), to: .init(end),
                [
                    "bgagent.attempt": SpanValue(session.attempt), "bgagent.backend": .text(session.backend),
                    "bgagent.node": session.node.map { .text($0) },
                ], errorType: isLost ? "attempt_lost" : nil, service: Self.platform))
        if let claimed = session.claimedAt {
            spans.append(
                Span(
                    "claim", context.part("claim"), parent: context.spanID, from: .init(session.requestedAt),
                    to: .init(claimed), service: Self.platform))
        }
        guard let started = session.startedAt else { return }
        let run = context.part("agent")
        spans.append(
            Span(
                "agent", run, parent: context.spanID, from: .init(started), to: .init(end),
                ["gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": .text(timeline.model)],
                errorType: isLost ? "attempt_lost" : nil, service: Self.agent))
        var steps = AgentSteps(run: run, started: .init(started), service: Self.agent)
        for event in timeline.events where event.attempt == session.attempt {
            steps.take(event, begins: Self.begins, ends: Self.ends)
        }
        spans += steps.finished(at: .init(end))
    }
}

/// The agent's events of one attempt, in order, as the steps, turns and tools that they tell of.
private struct AgentSteps {
    private struct Open {
        let name: String
        let context: TraceContext
        let parentID: String
        let start: SpanTime
        var end: SpanTime
        var attributes: [(String, SpanValue)] = []
    }

    private let run: TraceContext
    private let service: String
    private var step: Open?
    private var turn: Open?
    /// Where the last thing that was told ended: a turn begins there, with the model's thinking.
    private var last: SpanTime
    private var spans: [Span] = []

    init(run: TraceContext, started: SpanTime, service: String) {
        self.run = run
        self.service = service
        last = started
    }

    mutating func take(_ event: TaskTimeline.Event, begins: [String: String], ends: [String: String]) {
        let at = SpanTime(event.at)
        switch event.type {
        case "agent_milestone":
            guard let milestone = event.milestone else { return }
            if let name = begins[milestone] {
                closeStep(at, errorType: nil)
                step = Open(
                    name: name, context: run.part("step \(event.seq)"), parentID: run.spanID, start: at, end: at)
                last = at
            } else if let name = ends[milestone], step?.name == name {
                closeStep(at, errorType: milestone == "verify_failed" ? "verification_failed" : nil)
                last = at
            }
        case "agent_turn":
            closeTurn()
            let parent = step?.context ?? run
            turn = Open(
                name: "turn", context: run.part("turn \(event.seq)"), parentID: parent.spanID, start: min(last, at),
                end: at, attributes: event.turn.map { [("bgagent.turn", SpanValue($0))] } ?? [])
            last = at
        case "agent_tool_result":
            let parent = turn?.context ?? step?.context ?? run
            let floor = turn?.start ?? step?.start ?? at
            let tool = event.tool ?? "tool"
            spans.append(
                Span(
                    "execute_tool \(tool.prefix(60))", run.part("tool \(event.seq)"), parent: parent.spanID,
                    from: event.milliseconds.map { max(floor, at - max(0, min($0, 86_400_000))) } ?? max(floor, last),
                    to: at, ["gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": .text(tool)],
                    errorType: event.failed ? "tool_error" : nil, service: service))
            turn?.end = at
            last = at
        default: break
        }
    }

    mutating func finished(at end: SpanTime) -> [Span] {
        closeStep(end, errorType: nil)
        closeTurn()
        return spans
    }

    private mutating func closeStep(_ at: SpanTime, errorType: String?) {
        closeTurn()
        guard let open = step else { return }
        step = nil
        spans.append(
            Span(
                open.name, open.context, parent: open.parentID, from: open.start, to: at, errorType: errorType,
                service: service))
    }

    private mutating func closeTurn() {
        guard let open = turn else { return }
        turn = nil
        var span = Span(
            open.name, open.context, parent: open.parentID, from: open.start, to: open.end, service: service)
        span.attributes = open.attributes.map { (name: $0.0, value: $0.1) }
        spans.append(span)
    }
}

extension SpanTime {
    fileprivate init(_ timestamp: Timestamp) { self.init(microseconds: timestamp.microseconds) }
}
