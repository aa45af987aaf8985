import Domain
import Postgres

/// What the long spans of a task are made of: times that were stored when they happened, so that no process has to
/// remember them.
package struct TaskTimeline: Sendable {
    /// One attempt's session.
    package struct Session: Sendable {
        package var attempt: Int
        package var backend: String
        package var node: String?
        package var requestedAt: Timestamp
        package var claimedAt: Timestamp?
        package var startedAt: Timestamp?
        package var endedAt: Timestamp?

        package init(
            attempt: Int, backend: String, node: String?, requestedAt: Timestamp, claimedAt: Timestamp?,
            startedAt: Timestamp?, endedAt: Timestamp?
        ) {
            self.attempt = attempt
            self.backend = backend
            self.node = node
            self.requestedAt = requestedAt
            self.claimedAt = claimedAt
            self.startedAt = startedAt
            self.endedAt = endedAt
        }
    }

    /// One event, as far as a span can tell of it: names and numbers, nothing that an agent wrote.
    package struct Event: Sendable {
        package var seq: Int64
        package var type: String
        package var attempt: Int
        package var at: Timestamp
        package var milestone: String?
        package var turn: Int?
        package var tool: String?
        package var failed: Bool
        package var milliseconds: Int64?

        package init(
            seq: Int64, type: String, attempt: Int, at: Timestamp, milestone: String? = nil, turn: Int? = nil,
            tool: String? = nil, failed: Bool = false, milliseconds: Int64? = nil
        ) {
            self.seq = seq
            self.type = type
            self.attempt = attempt
            self.at = at
            self.milestone = milestone
            self.turn = turn
            self.tool = tool
            self.failed = failed
            self.milliseconds = milliseconds
        }
    }

    package var id: TaskID
    package var repo: String
    package var workflow: String
    package var model: String
    package var status: String
    package var outcome: String?
    package var errorCode: String?
    package var traceparent: String
    package var attempts: Int
    package var turns: Int
    package var costMicros: Int64
    package var createdAt: Timestamp
    package var completedAt: Timestamp
    package var sessions: [Session] = []
    package var events: [Event] = []

    package init(
        id: TaskID, repo: String, workflow: String, model: String, status: String, outcome: String?,
        errorCode: String?, traceparent: String, attempts: Int, turns: Int, costMicros: Int64, createdAt: Timestamp,
        completedAt: Timestamp
    ) {
        self.id = id
        self.repo = repo
        self.workflow = workflow
        self.model = model
        self.status = status
        self.outcome = outcome
        self.errorCode = errorCode
        self.traceparent = traceparent
        self.attempts = attempts
        self.turns = turns
        self.costMicros = costMicros
        self.createdAt = createdAt
        self.completedAt = completedAt
    }
}

/// Reads what traces are made of.
package enum TraceStore {
    /// Events of a task that are looked at; a longer task's trace ends there, its own span does not.
    package static let most = 5_000

    /// The task's own place in its trace; nil when there is no such task.
    package static func traceparent(_ task: TaskID, in connection: Connection) throws -> String? {
        try connection.query("SELECT traceparent FROM task_heads WHERE task_id = \(task.rawValue)").first.map {
            try $0.get("traceparent", as: String.self)
        }
    }

    /// Nil when there is no such task, or it has not ended.
    package static func timeline(_ task: TaskID, in connection: Connection) throws -> TaskTimeline? {
        let rows = try connection.pipeline([head(task), sessions(task), events(task)])
        guard rows.count == 3, let row = rows[0].first else { return nil }
        var timeline = TaskTimeline(
            id: task, repo: try row.get("repo", as: String.self), workflow: try row.get("workflow", as: String.self),
            model: try row.get("model", as: String.self), status: try row.get("status", as: String.self),
            outcome: try row.get("outcome", as: String?.self), errorCode: try row.get("error_code", as: String?.self),
            traceparent: try row.get("traceparent", as: String.self),
            attempts: try row.get("attempt", as: Int.self), turns: try row.get("turn", as: Int.self),
            costMicros: try row.get("micros", as: Int64.self),
            createdAt: try row.get("created_at", as: Timestamp.self),
            completedAt: try row.get("completed_at", as: Timestamp.self))
        timeline.sessions = try rows[1].map { row in
            TaskTimeline.Session(
                attempt: try row.get("attempt", as: Int.self), backend: try row.get("backend", as: String.self),
                node: try row.get("node", as: String?.self),
                requestedAt: try row.get("requested_at", as: Timestamp.self),
                claimedAt: try row.get("claimed_at", as: Timestamp?.self),
                startedAt: try row.get("started_at", as: Timestamp?.self),
                endedAt: try row.get("ended_at", as: Timestamp?.self))
        }
        timeline.events = try rows[2].map { row in
            TaskTimeline.Event(
                seq: try row.get("seq", as: Int64.self), type: try row.get("event_type", as: String.self),
                attempt: try row.get("attempt", as: Int.self), at: try row.get("timestamp", as: Timestamp.self),
                milestone: try row.get("milestone", as: String?.self),
                turn: try row.get("turn", as: String?.self).flatMap { Int($0) },
                tool: try row.get("tool", as: String?.self),
                failed: try row.get("failed", as: Bool.self),
                milliseconds: try row.get("milliseconds", as: String?.self).flatMap { Int64($0) })
        }
        return timeline
    }

    private static func head(_ task: TaskID) -> Query {
        """
        SELECT t.repo, t.workflow, t.model, t.status, t.outcome, t.error ->> 'code' AS error_code, t.traceparent,
            t.attempt, h.turn, (h.cost_usd * 1000000)::bigint AS micros, t.created_at, t.completed_at
        FROM tasks t JOIN task_heads h USING (task_id)
        WHERE t.task_id = \(task.rawValue) AND t.completed_at IS NOT NULL
        """
    }

    private static func sessions(_ task: TaskID) -> Query {
        """
        SELECT attempt, backend, node, requested_at, claimed_at, started_at, ended_at
        FROM sessions WHERE task_id = \(task.rawValue) ORDER BY attempt
        """
    }

    private static func events(_ task: TaskID) -> Query {
        """
        SELECT seq, event_type, attempt, timestamp, metadata ->> 'milestone' AS milestone, metadata ->> 'turn' AS turn,
            metadata ->> 'tool_name' AS tool, coalesce(metadata -> 'is_error' = 'true', false) AS failed,
            metadata ->> 'duration_ms' AS milliseconds
        FROM task_events
        WHERE task_id = \(task.rawValue) AND event_type IN ('admission_queued', 'hydration_started', 'attempt_lost',
            'agent_milestone', 'agent_turn', 'agent_tool_result')
        ORDER BY seq LIMIT \(most)
        """
    }
}
