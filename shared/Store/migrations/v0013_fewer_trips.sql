-- What every message pays for, in fewer statements and fewer trips.

-- The step of a consumer to p_seq of a task. False: somebody else took it. Nothing begins for a task that was deleted.
CREATE FUNCTION advance_position(p_consumer text, p_task text, p_seq bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_seq = 1 THEN
        INSERT INTO consumer_positions (consumer, task_id, last_seq) SELECT p_consumer, p_task, 1
            WHERE NOT EXISTS (SELECT FROM deleted_tasks WHERE task_id = p_task)
            ON CONFLICT (consumer, task_id) DO UPDATE SET last_seq = 1 WHERE consumer_positions.last_seq = 0;
    ELSE
        UPDATE consumer_positions SET last_seq = p_seq
            WHERE consumer = p_consumer AND task_id = p_task AND last_seq = p_seq - 1;
    END IF;
    RETURN FOUND;
END $$;

-- The same for whoever does not wait for the answer: the transaction fails where the step is not to be had.
CREATE FUNCTION take_step(p_consumer text, p_task text, p_seq bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT advance_position(p_consumer, p_task, p_seq) THEN
        RAISE EXCEPTION 'step % of % is taken', p_seq, p_task USING ERRCODE = 'BG004';
    END IF;
END $$;

-- The position in the stream first, so that the ledger's row is written once and its message needs no look at it. The
-- planner of a task's events is one at a time; a second one, which law 2 has beaten to it, fails and finds its step taken.
CREATE OR REPLACE FUNCTION plan_notification(p_effect text, p_task text, p_attempt int, p_channel text, p_target text,
    p_event_id text, p_event_seq bigint, p_event_type text, p_payload jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    p_stream CONSTANT text := 'notifications.' || p_channel;
    s bigint;
BEGIN
    IF EXISTS (SELECT FROM effects WHERE effect_id = p_effect) THEN
        RETURN false;
    END IF;
    INSERT INTO stream_heads AS h (stream, task_id, seq) VALUES (p_stream, p_task, 1)
        ON CONFLICT (stream, task_id) DO UPDATE SET seq = h.seq + 1 RETURNING h.seq INTO s;
    INSERT INTO effects (effect_id, task_id, channel, target, event_id, event_seq, stream_seq, event_type, payload)
        VALUES (p_effect, p_task, p_channel, p_target, p_event_id, p_event_seq, s, p_event_type, p_payload);
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    SELECT outbox_shard(p_task), p_stream, p_task, s, p_effect, 'notifications', p_channel || '.' || p_task,
        p_event_type, p_attempt, h.traceparent,
        json_build_object('notification_id', p_effect, 'channel', p_channel, 'target', p_target, 'task_id', p_task,
            'seq', s, 'event_id', p_event_id, 'event_type', p_event_type, 'payload', p_payload)
        FROM task_heads h WHERE h.task_id = p_task;
    RETURN true;
END $$;

-- The head of a new task with its first event and its first command: what append_event and append_command would leave
-- behind, without writing the head twice more. The task's row is there already.
CREATE FUNCTION open_timeline(p_task text, p_user text, p_repo text, p_traceparent text, p_event text, p_metadata jsonb,
    p_command text, p_payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    ms CONSTANT bigint := (extract(epoch FROM at) * 1000)::bigint;
    event_id CONSTANT text := new_ulid(ms);
    command_id CONSTANT text := new_ulid(ms);
    h task_heads;
BEGIN
    INSERT INTO task_heads (task_id, user_id, repo, traceparent, seq, command_seq, last_event_ms, last_event_type,
        last_event_at)
        VALUES (p_task, p_user, p_repo, p_traceparent, 1, 1, ms, p_event, at) RETURNING * INTO h;
    INSERT INTO task_events VALUES (p_task, 1, event_id, p_event, at, 1, p_metadata);
    PERFORM publish_event(h, 1, event_id, p_event, at, 1, p_metadata);
    INSERT INTO task_commands (task_id, seq, message_id, command, attempt, payload)
        VALUES (p_task, 1, command_id, p_command, 1, p_payload);
    PERFORM publish_command(h, 1, command_id, p_command, 1, p_payload);
END $$;
