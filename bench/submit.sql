-- What one POST /v1/tasks asks of the database, for pgbench: the read, then the rows of one task in one transaction. The
-- gateway commits the submits of many callers together and so may do more a second than this. bench/submit.py holds the
-- rows it leaves against those of a POST, so that the two cannot drift apart.
\set user random(1, 1000)
SELECT u.user_id, u.name AS user_name, u.role, u.max_concurrent AS user_slots,
    new_ulid(now_ms()) AS fresh_id, i.body_hash, i.task_id AS earlier_id, r.repo IS NOT NULL AS onboarded,
    (SELECT count(*) FROM (SELECT 1 FROM tasks w WHERE w.user_id = u.user_id
        AND w.status IN ('SUBMITTED', 'QUEUED') LIMIT 0) AS waiting) AS waiting,
    r.repo, r.forge, r.default_branch, r.model, r.max_turns, r.max_budget_usd, r.max_duration_s, r.max_concurrent,
    r.setup_command, r.build_command, r.test_command, r.lint_command, r.system_prompt_overrides, r.credential_ref,
    g.level AS grant_level, r.allow_ci_changes, r.commit_name, r.commit_email, r.notifications::text AS notifications, r.created_at,
    r.updated_at, r.deleted_at
FROM api_tokens k JOIN users u USING (user_id)
LEFT JOIN repos r ON r.repo = 'bench/repo' AND r.deleted_at IS NULL
LEFT JOIN repo_grants g ON g.repo = r.repo AND g.user_id = u.user_id
LEFT JOIN idempotency_keys i ON i.user_id = u.user_id AND i.key = NULL
WHERE k.token_hash = encode(sha256(convert_to('bga_bench' || :user::int, 'UTF8')), 'hex')
    AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp()) AND u.disabled_at IS NULL \gset
\startpipeline
INSERT INTO tasks (task_id, user_id, repo, issue_number, task_description, workflow, channel_source,
    branch_name, base_branch, model, max_turns, max_budget_usd, max_duration_s, max_attempts, settings,
    notifications, traceparent)
VALUES (:fresh_id, :user_id, 'bench/repo', NULL, 'The parser drops the last field of a quoted line; find out why, mend it and add a test that fails without the change. Keep the public interface as it is.',
    'coding/new-task-v1', 'api', 'bgagent/' || :fresh_id::text || '/the-parser-drops-the-last-field', 'main', 'claude-sonnet-4-5', 100, NULL,
    28800, 2, '{"allow_ci_changes": false}', '{}', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')
RETURNING created_at;
SELECT open_timeline(:fresh_id, :user_id, 'bench/repo', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    'task_created', '{"repo":"bench/repo","issue_number": null,"channel_source":"api","workflow":"coding/new-task-v1"}'::jsonb,
    'task_submitted', '{}'::jsonb);
\endpipeline
