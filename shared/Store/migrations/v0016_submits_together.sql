-- Many submits in one statement each: most of what a small INSERT costs is its beginning (indexes, checks and triggers of
-- its table are made ready for each statement anew), not its row.

-- The task whose work this one does once more; retention may have removed it.
ALTER TABLE tasks ADD COLUMN retry_of ulid;

-- The message of an event, wherever it is written.
CREATE FUNCTION event_message(p_task text, p_user text, p_repo text, p_traceparent text, p_seq bigint, p_id text,
    p_type text, p_at timestamptz, p_attempt int, p_metadata jsonb) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('event_id', p_id, 'task_id', p_task, 'seq', p_seq, 'event_type', p_type,
        'timestamp', p_at, 'attempt', p_attempt, 'user_id', p_user, 'repo', p_repo,
        'trace_id', split_part(p_traceparent, '-', 2), 'metadata', p_metadata)
$$;

-- The message of a command.
CREATE FUNCTION command_message(p_task text, p_seq bigint, p_id text, p_command text, p_attempt int, p_payload jsonb)
    RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('command_id', p_id, 'task_id', p_task, 'seq', p_seq, 'command', p_command,
        'attempt', p_attempt, 'payload', p_payload)
$$;

CREATE OR REPLACE FUNCTION publish_event(h task_heads, p_seq bigint, p_id text, p_type text, p_at timestamptz,
    p_attempt int, p_metadata jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    VALUES (outbox_shard(h.task_id), 'events', h.task_id, p_seq, p_id, 'task.events', h.task_id || '.' || p_type,
        p_type, p_attempt, h.traceparent,
        event_message(h.task_id, h.user_id, h.repo, h.traceparent, p_seq, p_id, p_type, p_at, p_attempt, p_metadata));
END $$;

CREATE OR REPLACE FUNCTION publish_command(h task_heads, p_seq bigint, p_id text, p_command text, p_attempt int,
    p_payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    VALUES (outbox_shard(h.task_id), 'commands', h.task_id, p_seq, p_id, 'task.commands',
        h.task_id || '.' || p_command, p_command, p_attempt, h.traceparent,
        command_message(h.task_id, p_seq, p_id, p_command, p_attempt, p_payload));
END $$;

-- Law 1 for submits: key, task, what its agent may do, head, first event, first command and their messages, of all the
-- tasks or of none. A key that another submit took first fails with the violation of idempotency_keys_pkey.
--
-- A task of a user of whom p_most_waiting wait already is left out (0 = none is). p_tasks is an array of objects; the audit
-- log is told of what one may do without asking, and of which task it is a retry. The rows are written table by table; the
-- outbox comes last, because OutboxFloor trusts that who takes an id of the outbox has written before.
CREATE FUNCTION submit_tasks(p_tasks jsonb, p_event text, p_command text, p_most_waiting int)
    RETURNS TABLE (task_id text, created_at timestamptz) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    ms CONSTANT bigint := (extract(epoch FROM at) * 1000)::bigint;
    ids CONSTANT text[] := ARRAY(SELECT new_ulid(ms) FROM generate_series(1, 2 * jsonb_array_length(p_tasks)));
BEGIN
    IF p_most_waiting > 0 THEN
        p_tasks := (SELECT coalesce(jsonb_agg(t.task ORDER BY t.n), '[]') FROM (
                SELECT task, n, row_number() OVER (PARTITION BY task ->> 'user_id' ORDER BY n) AS nth
                FROM jsonb_array_elements(p_tasks) WITH ORDINALITY AS e(task, n)) AS t
            WHERE t.nth + (SELECT count(*) FROM (SELECT FROM tasks w WHERE w.user_id = t.task ->> 'user_id'
                AND w.status IN ('SUBMITTED', 'QUEUED') LIMIT p_most_waiting) AS waiting) <= p_most_waiting);
    END IF;
    IF jsonb_path_exists(p_tasks, '$[*].key') THEN
        INSERT INTO idempotency_keys (user_id, key, body_hash, task_id)
        SELECT t.user_id, t.key, t.body_hash, t.task_id
        FROM jsonb_to_recordset(p_tasks) AS t(user_id text, key text, body_hash text, task_id text)
        WHERE t.key IS NOT NULL ORDER BY t.user_id, t.key;
    END IF;
    RETURN QUERY
        INSERT INTO tasks (task_id, user_id, repo, issue_number, task_description, workflow, channel_source,
            branch_name, base_branch, model, max_turns, max_budget_usd, max_duration_s, max_attempts, settings,
            notifications, traceparent, retry_of)
        SELECT t.task_id, t.user_id, t.repo, t.issue_number, t.task_description, t.workflow, t.channel_source,
            t.branch_name, t.base_branch, t.model, t.max_turns, t.max_budget_usd, t.max_duration_s, t.max_attempts,
            t.settings, t.notifications, t.traceparent, t.retry_of
        FROM jsonb_to_recordset(p_tasks) AS t(task_id text, user_id text, repo text, issue_number int,
            task_description text, workflow text, channel_source text, branch_name text, base_branch text, model text,
            max_turns int, max_budget_usd numeric, max_duration_s int, max_attempts int, settings jsonb,
            notifications jsonb, traceparent text, retry_of text)
        RETURNING tasks.task_id::text, tasks.created_at;
    IF jsonb_path_exists(p_tasks, '$[*].allowances') THEN
        INSERT INTO task_allowances (task_id, scope, user_id)
        SELECT DISTINCT t.task_id, scope, t.user_id
        FROM jsonb_to_recordset(p_tasks) AS t(task_id text, user_id text, allowances jsonb),
            jsonb_array_elements_text(t.allowances) AS scope;
        INSERT INTO audit_log (user_id, action, subject, detail)
        SELECT t.user_id, 'approval.preapprove', t.task_id, jsonb_build_object('scopes', t.allowances)
        FROM jsonb_to_recordset(p_tasks) AS t(task_id text, user_id text, allowances jsonb)
        WHERE t.allowances IS NOT NULL;
    END IF;
    IF jsonb_path_exists(p_tasks, '$[*].retry_of') THEN
        INSERT INTO audit_log (user_id, action, subject, detail)
        SELECT t.user_id, 'task.retry', t.retry_of, jsonb_build_object('task_id', t.task_id)
        FROM jsonb_to_recordset(p_tasks) AS t(task_id text, user_id text, retry_of text) WHERE t.retry_of IS NOT NULL;
    END IF;
    INSERT INTO task_heads (task_id, user_id, repo, traceparent, seq, command_seq, last_event_ms, last_event_type,
        last_event_at)
    SELECT t.task_id, t.user_id, t.repo, t.traceparent, 1, 1, ms, p_event, at
    FROM jsonb_to_recordset(p_tasks) AS t(task_id text, user_id text, repo text, traceparent text);
    INSERT INTO task_events (task_id, seq, event_id, event_type, timestamp, attempt, metadata)
    SELECT t.task_id, 1, ids[2 * t.n], p_event, at, 1, t.told
    FROM ROWS FROM (jsonb_to_recordset(p_tasks) AS (task_id text, told jsonb)) WITH ORDINALITY AS t(task_id, told, n);
    INSERT INTO task_commands (task_id, seq, message_id, command, attempt, payload)
    SELECT t.task_id, 1, ids[2 * t.n - 1], p_command, 1, '{}'
    FROM ROWS FROM (jsonb_to_recordset(p_tasks) AS (task_id text)) WITH ORDINALITY AS t(task_id, n);
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    SELECT outbox_shard(t.task_id), 'events', t.task_id, 1, ids[2 * t.n], 'task.events', t.task_id || '.' || p_event,
        p_event, 1, t.traceparent,
        event_message(t.task_id, t.user_id, t.repo, t.traceparent, 1, ids[2 * t.n], p_event, at, 1, t.told)
    FROM ROWS FROM (jsonb_to_recordset(p_tasks)
        AS (task_id text, user_id text, repo text, traceparent text, told jsonb)) WITH ORDINALITY
        AS t(task_id, user_id, repo, traceparent, told, n)
    UNION ALL
    SELECT outbox_shard(t.task_id), 'commands', t.task_id, 1, ids[2 * t.n - 1], 'task.commands',
        t.task_id || '.' || p_command, p_command, 1, t.traceparent,
        command_message(t.task_id, 1, ids[2 * t.n - 1], p_command, 1, '{}')
    FROM ROWS FROM (jsonb_to_recordset(p_tasks) AS (task_id text, traceparent text)) WITH ORDINALITY
        AS t(task_id, traceparent, n);
END $$;
