-- One call makes somebody with a token, a login and a password, a repository, and a task in a state, with something of
-- everything that belongs to a task. A fuzzed request may spend all of it.
CREATE FUNCTION fuzz_scene(p_role text, p_state text, p_token text, p_login text, p_password text, p_once boolean)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    task CONSTANT text := new_ulid(now_ms());
    person CONSTANT text := 'p' || lower(task);
    place CONSTANT text := 'acme/' || task;
    who text;
    made jsonb;
BEGIN
    INSERT INTO users (name, role, password_hash, password_once_until, email)
        VALUES (person, p_role, p_password, CASE WHEN p_once THEN now() + interval '1 day' END, person || '@localhost')
        RETURNING user_id INTO who;
    INSERT INTO repos (repo, default_branch) VALUES (place, 'main');
    INSERT INTO repo_grants (repo, user_id, level) VALUES (place, who, 'steer');
    INSERT INTO repo_checks (repo, checked_at, result)
        VALUES (place, now(), '[{"name": "access", "ok": true, "detail": ""}]');
    INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model, max_turns, max_duration_s,
        traceparent)
    VALUES (task, who, place, 'mend the failing test', 'bgagent/' || task, 'model', 100, 28800,
        '00-' || md5(task) || '-0000000000000001-01');
    INSERT INTO task_heads (task_id, user_id, repo, traceparent)
        SELECT task_id, user_id, repo, traceparent FROM tasks WHERE task_id = task;
    PERFORM append_event(task, 1, 'task_created', '{}');
    IF p_state = 'QUEUED' THEN
        UPDATE tasks SET status = 'QUEUED' WHERE task_id = task;
    ELSIF p_state <> 'SUBMITTED' THEN
        UPDATE tasks SET status = 'HYDRATING' WHERE task_id = task;
        UPDATE tasks SET status = 'RUNNING' WHERE task_id = task;
    END IF;
    PERFORM append_event(task, 1, 'agent_turn', '{"turn": 3}');
    PERFORM append_event(task, 1, 'agent_milestone', '{"milestone": "plan"}');
    PERFORM append_event(task, 1, 'agent_tool_call', '{"tool_name": "Bash"}');
    INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload, usage)
        VALUES (task, 1, 'running', 'process', 'node', now() + interval '1 day', '{}',
            '{"cpu_percent": 1.5, "pids": 3}');
    INSERT INTO task_nudges (nudge_id, task_id, user_id, mode, message)
        VALUES (new_ulid(now_ms()), task, who, 'next', 'hear');
    INSERT INTO inbox (item_id, task_id, kind, payload)
        SELECT nudge_id, task_id, 'nudge', '{"message": "hear"}' FROM task_nudges WHERE task_id = task;
    INSERT INTO task_asks (ask_id, task_id, user_id, question, state, answer, answered_at, expires_at)
        VALUES (new_ulid(now_ms()), task, who, 'why?', 'answered', 'so', now(), now() + interval '1 day');
    INSERT INTO task_questions (task_id, attempt, client_id, question, options, expires_at)
        VALUES (task, 1, 'q', 'which?', '["a", "b"]', now() + interval '1 day');
    INSERT INTO task_approvals (task_id, attempt, client_id, request, expires_at)
        VALUES (task, 1, 'a', '{"tool_name": "Bash", "summary": "rm", "scopes": ["tool_type:Bash"]}',
            now() + interval '1 day');
    INSERT INTO dead_letters (consumer, queue, task_id, seq, reason, body)
        VALUES ('fanout', 'fanout.1', task, 1, 'no', '{}');
    INSERT INTO effects (effect_id, task_id, channel, target, event_type, payload, state, stream_seq)
        VALUES (md5(task), task, 'slack', '#builds', 'task_created', '{}', 'dead', 1);
    PERFORM append_task_logs(task, 'agent', 'node', 100, 0, 1000, '[{"level": "info", "message": "line"}]');
    IF p_state IN ('AWAITING_APPROVAL', 'FINALIZING') THEN
        UPDATE tasks SET status = p_state WHERE task_id = task;
    ELSIF p_state = 'PARKED' THEN
        UPDATE tasks SET status = p_state, wake_condition = '{"kind": "reply"}' WHERE task_id = task;
    ELSIF is_final(p_state) THEN
        UPDATE tasks SET status = 'FINALIZING' WHERE task_id = task;
        UPDATE tasks SET status = p_state, error = CASE p_state WHEN 'FAILED'
            THEN '{"code": "verification_failed", "category": "agent", "retryable": false}'::jsonb END
            WHERE task_id = task;
    END IF;
    INSERT INTO api_tokens (user_id, name, token_hash) VALUES (who, 'api', p_token);
    INSERT INTO api_tokens (user_id, name, token_hash, kind, expires_at)
        VALUES (who, 'login', p_login, 'session', now() + interval '1 day');
    RETURN jsonb_build_object('user_id', who, 'user', person, 'repo', place, 'task_id', task,
        'nudge_id', (SELECT nudge_id FROM task_nudges WHERE task_id = task),
        'ask_id', (SELECT ask_id FROM task_asks WHERE task_id = task),
        'question_id', (SELECT question_id FROM task_questions WHERE task_id = task),
        'request_id', (SELECT request_id FROM task_approvals WHERE task_id = task),
        'dead_letter_id', (SELECT dead_letter_id FROM dead_letters WHERE task_id = task),
        'event_id', (SELECT event_id FROM task_events WHERE task_id = task AND seq = 2),
        'token_id', (SELECT token_id FROM api_tokens WHERE user_id = who AND kind = 'session'));
END $$;
