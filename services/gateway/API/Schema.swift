import Domain
import Store

/// A named shape of `data`, with the JSON schema that the description shows and tests hold every answer against.
struct Schema: Sendable {
    let name: String
    let json: JSONValue
    /// True when `data` is a list of these, with `pagination` beside it.
    var isPage = false

    init(_ name: String, _ properties: KeyValuePairs<String, JSONValue>) {
        self.name = name
        json = Self.object(properties)
    }

    private init(pageOf schema: Schema) {
        name = schema.name
        json = schema.json
        isPage = true
    }

    /// Every member is always there; what may have no value is null.
    static func object(_ properties: KeyValuePairs<String, JSONValue>) -> JSONValue {
        [
            "type": "object", "additionalProperties": false,
            "required": .array(properties.map { .string($0.key) }),
            "properties": .object(Dictionary(properties.map { ($0.key, $0.value) }) { first, _ in first }),
        ]
    }

    static let id: JSONValue = ["type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"]
    static let text: JSONValue = ["type": "string"]
    static let time: JSONValue = ["type": "string", "format": "date-time"]
    static let whole: JSONValue = ["type": "integer"]
    static let amount: JSONValue = ["type": "number"]
    static let truth: JSONValue = ["type": "boolean"]
    static let anyObject: JSONValue = ["type": "object"]
    private static let state: JSONValue = [
        "type": "string", "enum": .array(TaskStatus.allCases.map { .string($0.rawValue) }),
    ]

    private static let role: JSONValue = ["type": "string", "enum": ["admin", "member", "viewer"]]
    private static let kind: JSONValue = ["type": "string", "enum": ["api", "session"]]

    static func orNull(_ schema: JSONValue) -> JSONValue { ["oneOf": [schema, ["type": "null"]]] }

    private static let summaryMembers: [(String, JSONValue)] = [
        ("task_id", id), ("status", state), ("repo", text), ("issue_number", orNull(whole)),
        ("task_description", orNull(text)), ("resolved_workflow", object(["id": text, "version": text])),
        ("branch_name", text), ("pr_url", orNull(text)), ("pr_number", orNull(whole)), ("outcome", orNull(text)),
        ("user_id", id), ("channel_source", text), ("created_at", time), ("updated_at", time),
    ]

    private init(_ name: String, members: [(String, JSONValue)]) {
        self.name = name
        json = [
            "type": "object", "additionalProperties": false, "required": .array(members.map { .string($0.0) }),
            "properties": .object(Dictionary(members) { first, _ in first }),
        ]
    }

    static let taskPage = Schema(pageOf: Schema("TaskSummary", members: summaryMembers))

    static let task = Schema(
        "Task",
        members: summaryMembers + [
            ("attempt", whole), ("max_attempts", whole), ("base_branch", orNull(text)), ("model", text),
            ("max_turns", whole), ("max_budget_usd", orNull(amount)), ("max_duration_s", whole),
            ("notifications", anyObject), ("turns", whole), ("cost_usd", amount), ("head_sha", orNull(text)),
            ("answer_text", orNull(text)), ("error_classification", orNull(anyObject)),
            ("cancel_requested_at", orNull(time)), ("started_at", orNull(time)), ("completed_at", orNull(time)),
            ("trace_id", text), ("retry_of", orNull(text)), ("allowed_scopes", ["type": "array", "items": text]),
            ("queue_position", orNull(whole)), ("estimated_wait_s", orNull(whole)),
        ])

    static let status = Schema(
        "TaskStatusSnapshot",
        [
            "task_id": id, "status": state, "repo": text, "issue_number": orNull(whole), "attempt": whole,
            "elapsed_s": whole, "turn": whole, "max_turns": whole,
            "last_milestone": orNull(object(["name": text, "details": orNull(text), "age_s": orNull(whole)])),
            "current_tool": orNull(text),
            "waiting_for": orNull(object(["kind": text, "detail": text])), "cost_usd": amount,
            "max_budget_usd": orNull(amount), "queue_position": orNull(whole), "estimated_wait_s": orNull(whole),
            "pr_url": orNull(text), "outcome": orNull(text), "error": orNull(anyObject),
            "trace_bytes": orNull(whole),
            "last_event": orNull(object(["event_type": text, "seq": whole, "age_s": orNull(whole)])),
        ])

    static let traceLink = Schema(
        "TraceLink",
        ["url": text, "expires_at": time, "bytes": whole, "truncated": truth, "complete": truth])

    static let cancelled = Schema("CancelledTask", ["task_id": id, "status": state, "cancelled_at": time])
    static let cancelRequested = Schema(
        "StoppingTask", ["task_id": id, "status": state, "cancel_requested_at": time])

    static let eventPage = Schema(
        pageOf: Schema(
            "Event",
            [
                "event_id": id, "task_id": id, "seq": whole, "event_type": text, "timestamp": time, "attempt": whole,
                "metadata": anyObject, "user_id": id, "repo": text, "trace_id": text,
            ]))

    static let nudge = Schema(
        "Nudge",
        [
            "nudge_id": id, "task_id": id, "user_name": text, "mode": words(NudgeMode.self), "message": text,
            "state": words(NudgeState.self), "submitted_at": time, "acknowledged_at": orNull(time),
            "delivered_at": orNull(time), "turn": orNull(whole),
        ])
    static let nudgePage = Schema(pageOf: nudge)
    static let ask = Schema(
        "Ask",
        [
            "ask_id": id, "task_id": id, "user_name": text, "question": text, "state": words(AskState.self),
            "answer": orNull(text), "turn": orNull(whole), "asked_at": time, "expires_at": time,
            "answered_at": orNull(time),
        ])
    static let askPage = Schema(pageOf: ask)
    private static let options: JSONValue = ["type": "array", "items": text]
    static let question = Schema(
        "Question",
        [
            "question_id": id, "task_id": id, "question": text, "options": options,
            "state": words(QuestionState.self), "answer": orNull(text), "answered_by": orNull(text),
            "asked_at": time, "expires_at": time,
        ])
    static let pendingPage = Schema(
        pageOf: Schema(
            "Pending",
            [
                "kind": ["type": "string", "enum": ["question", "approval"]], "id": id, "task_id": id, "repo": text,
                "text": text, "options": options, "request": orNull(anyObject), "asked_at": time,
                "expires_at": orNull(time),
            ]))
    static let approval = Schema(
        "Approval",
        [
            "request_id": id, "task_id": id, "repo": text, "attempt": whole, "state": words(ApprovalState.self),
            "request": anyObject, "scope": orNull(text), "reason": orNull(text), "decided_by": orNull(text),
            "created_at": time, "expires_at": time, "decided_at": orNull(time),
        ])
    static let approvalPage = Schema(pageOf: approval)

    private static func words<Word: RawRepresentable<String> & CaseIterable>(_ type: Word.Type) -> JSONValue {
        ["type": "string", "enum": .array(Word.allCases.map { .string($0.rawValue) })]
    }

    static let repo = Schema(
        "Repository",
        [
            "repo": text, "forge": text, "default_branch": orNull(text), "model": orNull(text),
            "max_turns": orNull(whole), "max_budget_usd": orNull(amount), "max_duration_s": orNull(whole),
            "max_concurrent": orNull(whole), "setup_command": orNull(text), "build_command": orNull(text),
            "test_command": orNull(text), "lint_command": orNull(text), "system_prompt_overrides": orNull(text),
            "credential_ref": orNull(text), "allow_ci_changes": truth, "allow_secrets": truth,
            "approval_gates": truth, "policies": text, "approvers": options, "second_person": truth,
            "approval_gate_cap": whole, "approval_timeout_s": orNull(whole),
            "unanswered_question": words(UnansweredQuestion.self),
            "commit_name": orNull(text),
            "commit_email": orNull(text), "access": ["type": "string", "enum": ["open", "restricted"]],
            "notifications": anyObject, "created_at": time, "updated_at": time,
            "deleted_at": orNull(time),
        ])
    static let repoPage = Schema(pageOf: repo)

    static let user = Schema(
        "User",
        [
            "user_id": id, "name": text, "email": orNull(text),
            "role": role, "max_concurrent": orNull(whole), "notifications": anyObject,
            "password": ["type": "string", "enum": ["none", "set", "once"]], "created_at": time,
            "disabled_at": orNull(time),
        ])
    static let userPage = Schema(pageOf: user)

    static let grant = Schema(
        "Grant",
        [
            "repo": text, "user_id": id, "user_name": text,
            "level": ["type": "string", "enum": ["read", "submit", "steer"]], "created_at": time, "updated_at": time,
        ])
    static let grantPage = Schema(pageOf: grant)

    static let session = Schema(
        "Session",
        [
            "token_id": orNull(id), "token": orNull(text), "expires_at": orNull(time), "user_id": id, "name": text,
            "role": role,
        ])
    static let oncePassword = Schema(
        "OneTimePassword", ["user_id": id, "name": text, "password": text, "expires_at": time])

    static let token = Schema(
        "Token",
        [
            "token_id": id, "user_id": id, "kind": kind, "name": text, "created_at": time,
            "expires_at": orNull(time), "revoked_at": orNull(time),
        ])
    static let tokenPage = Schema(pageOf: token)
    static let newToken = Schema(
        "NewToken",
        [
            "token_id": id, "user_id": id, "kind": kind, "name": text, "token": text, "created_at": time,
            "expires_at": orNull(time), "revoked_at": orNull(time),
        ])

    static let platform = Schema(
        "Platform",
        [
            "tasks_at_work": whole,
            "pauses": [
                "type": "array",
                "items": object([
                    "scope": text, "reason": orNull(text), "user_id": orNull(id), "paused_at": time,
                ]),
            ],
            "nodes": [
                "type": "array",
                "items": object([
                    "node": text, "backend": text, "capacity": whole, "running": whole, "draining": truth,
                    "last_seen": time,
                ]),
            ],
        ])

    private static let letterMembers: [(String, JSONValue)] = [
        ("dead_letter_id", text), ("kind", ["type": "string", "enum": ["message", "notification"]]),
        ("source", text), ("task_id", orNull(text)), ("seq", orNull(whole)), ("reason", text), ("place", text),
        ("replayable", truth), ("obstacle", orNull(text)), ("created_at", time),
    ]
    static let deadLetterPage = Schema(pageOf: Schema("DeadLetterSummary", members: letterMembers))
    static let deadLetter = Schema("DeadLetter", members: letterMembers + [("body", text)])
    static let settledLetter = Schema(
        "SettledDeadLetter", ["dead_letter_id": text, "action": text, "dry_run": truth, "effect": text])

    // MARK: - Operations

    private static let checks: JSONValue = [
        "type": "array",
        "items": object(["name": text, "ok": truth, "detail": text, "remedy": orNull(text)]),
    ]
    static let doctor = Schema(
        "Diagnosis",
        [
            "ok": truth, "version": text, "schema": whole,
            "failures": [
                "type": "array",
                "items": object([
                    "service": text, "instance": orNull(text), "check": text, "detail": text, "remedy": text,
                ]),
            ],
            "services": [
                "type": "array",
                "items": object([
                    "service": text, "required": truth,
                    "state": [
                        "type": "string", "enum": .array(Diagnosis.State.allCases.map { .string($0.rawValue) }),
                    ],
                    "instances": [
                        "type": "array",
                        "items": object([
                            "instance": text, "version": text, "schema": whole, "silent": truth, "seen_age_s": whole,
                            "uptime_s": whole, "checks": checks,
                        ]),
                    ],
                ]),
            ],
        ])
    static let repoCheck = Schema(
        "RepositoryCheck",
        [
            "repo": text, "state": ["type": "string", "enum": ["pending", "passed", "failed"]], "requested_at": time,
            "checked_at": orNull(time), "checks": checks,
        ])
    static let logPage = Schema(
        pageOf: Schema(
            "LogLine",
            [
                "seq": whole, "at": time, "service": text, "instance": text, "attempt": orNull(whole),
                "level": ["type": "string", "enum": .array(TaskLogLine.levels.map { .string($0) })], "message": text,
                "fields": anyObject,
            ]))
    static let top = Schema(
        "TaskTop",
        [
            "status": status.json, "tool_age_s": orNull(whole),
            "tokens": object(["input": whole, "output": whole, "cache_read": whole]), "cost_last_5_min_usd": amount,
            "sandbox": orNull(
                object([
                    "state": text, "backend": text, "node": orNull(text), "age_s": orNull(whole),
                    "lease_left_s": orNull(whole), "cpu_percent": orNull(amount), "memory_bytes": orNull(whole),
                    "pids": orNull(whole),
                ])),
            "notifications": object(["waiting": whole, "unknown": whole, "dead": whole]),
            "outbox": object(["messages": whole, "oldest_age_s": whole]),
            "events": [
                "type": "array",
                "items": object(["seq": whole, "event_type": text, "age_s": whole, "metadata": anyObject]),
            ],
        ])

    static let description = Schema("Description", members: [])
}
