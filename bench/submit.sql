-- What one POST /v1/tasks says to the database, for pgbench: the read, then the flight of writes that is one
-- transaction. bench/submit.py holds the rows it leaves against those of a POST, so that the two cannot drift apart.
\set user random(1, 1000)
SELECT u.user_id, u.name AS user_name, u.role, u.max_concurrent AS user_slots,
    new_ulid(now_ms()) AS fresh_id, i.body_hash, i.task_id AS earlier_id, r.repo IS NOT NULL AS onboarded,
    (SELECT count(*) FROM (SELECT 1 FROM tasks w WHERE w.user_id = u.user_id
        AND w.status IN ('SUBMITTED', 'QUEUED') LIMIT 0) AS waiting) AS waiting,
    r.repo, r.forge, r.default_branch, r.model, r.max_turns, r.max_budget_usd, r.max_duration_s, r.max_concurrent,
    r.setup_command, r.build_command, r.test_command, r.lint_command, r.system_prompt_overrides, r.credential_ref,
    r.allow_ci_changes, r.commit_name, r.commit_email, r.notifications::text AS notifications, r.created_at,
    r.updated_at, r.deleted_at
FROM api_tokens k JOIN users u USING (user_id)
LEFT JOIN repos r ON r.repo = 'bench/repo' AND r.deleted_at IS NULL
LEFT JOIN idempotency_keys i ON i.user_id = u.user_id AND i.key = NULL
WHERE k.token_hash = encode(sha256(convert_to('bga_bench' || :user::int, 'UTF8')), 'hex')
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AND u.disabled_at IS NULL \gset
\startpipeline
INSERT INTO tasks (task_id, user_id, repo, issue_number, task_description, workflow, channel_source,
    branch_name, base_branch, model, max_turns, max_budget_usd, max_duration_s, max_attempts, settings,
    notifications, traceparent)
VALUES (:fresh_id, :user_id, 'bench/repo', NULL, 'The parser drops the last field of a quoted line; find out why, mend it and add a test that fails without the change. Keep the public interface as it is.',
    'coding/new-task-v1', 'api', 'bgagent/' || :fresh_id::text || '/the-parser-drops-the-last-field', 'main', 'claude-sonnet-4-5', 100, NULL,
    28800, 2, '{"allow_ci_changes": false}', '{}', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
INSERT INTO task_heads (task_id, user_id, repo, traceparent)
VALUES (:fresh_id, :user_id, 'bench/repo', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01');
SELECT seq, event_id FROM append_event(:fresh_id, 1, 'task_created', '{"repo":"bench/repo","issue_number": null,"channel_source":"api","workflow":"coding/new-task-v1"}'::jsonb);
SELECT append_command(:fresh_id, 1, 'task_submitted', '{}'::jsonb) AS seq;
SELECT t.task_id, t.user_id, t.repo, t.issue_number, t.task_description, t.workflow, t.channel_source, t.status,
    t.attempt, t.max_attempts, t.branch_name, t.base_branch, t.model, t.max_turns, t.max_budget_usd,
    t.max_duration_s, t.notifications::text AS notifications, t.outcome, t.pr_url, t.pr_number, t.head_sha,
    t.answer_text, t.error, t.wake_condition, t.cancel_requested_at, split_part(t.traceparent, '-', 2) AS trace_id,
    t.created_at, t.status_changed_at, t.updated_at, t.started_at, t.completed_at, h.turn, h.cost_usd,
    h.current_tool, h.last_milestone, h.last_milestone_at, h.last_event_type, h.last_event_at, h.seq,
    clock_timestamp() AS read_at,
    CASE WHEN t.status IN ('SUBMITTED', 'QUEUED') THEN (SELECT count(*) FROM tasks w
        WHERE w.user_id = t.user_id AND w.status IN ('SUBMITTED', 'QUEUED')
            AND (w.created_at, w.task_id) <= (t.created_at, t.task_id)) END AS queue_position,
    (SELECT u.max_concurrent FROM users u WHERE u.user_id = t.user_id) AS user_slots
FROM tasks t JOIN task_heads h USING (task_id) WHERE t.task_id = :fresh_id;
\endpipeline
