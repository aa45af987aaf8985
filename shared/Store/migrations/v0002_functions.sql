-- The moves of a task and the three appends. One flight each: the head's row lock orders everything of a task.

CREATE FUNCTION guard_task_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'SUBMITTED' THEN
        RAISE EXCEPTION 'a task starts as SUBMITTED, not %', NEW.status USING ERRCODE = 'BG001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_task_insert BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION guard_task_insert();

CREATE FUNCTION guard_task_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    NEW.updated_at := clock_timestamp();
    IF NEW.status = OLD.status THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (SELECT FROM task_transitions WHERE from_status = OLD.status AND to_status = NEW.status) THEN
        RAISE EXCEPTION 'task %: % -> % is not a move', OLD.task_id, OLD.status, NEW.status USING ERRCODE = 'BG001';
    END IF;
    -- Once the pull request is intended, the outcome is the pull request: a cancel then comes too late.
    IF OLD.status = 'FINALIZING' AND NEW.status = 'CANCELLED'
        AND EXISTS (SELECT FROM effects WHERE task_id = OLD.task_id AND kind = 'pull_request') THEN
        RAISE EXCEPTION 'task %: its pull request is already intended', OLD.task_id USING ERRCODE = 'BG001';
    END IF;
    NEW.status_changed_at := clock_timestamp();
    NEW.step_attempts := 0;
    IF NEW.status = 'RUNNING' AND NEW.started_at IS NULL THEN
        NEW.started_at := clock_timestamp();
    END IF;
    IF is_final(NEW.status) THEN
        NEW.completed_at := clock_timestamp();
    END IF;
    IF NEW.status <> 'PARKED' THEN
        NEW.wake_condition := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_task_update BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION guard_task_update();

-- Slots follow the state in the transaction that moves it, so they cannot drift. The lock order goes on from the task:
-- task_heads, sessions, counters (users before repositories).
CREATE FUNCTION count_slots() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    step int := holds_slot(NEW.status)::int - holds_slot(OLD.status)::int;
BEGIN
    IF is_final(NEW.status) AND NOT is_final(OLD.status) THEN
        UPDATE task_heads SET current_tool = NULL WHERE task_id = NEW.task_id;
        UPDATE sessions SET state = CASE WHEN state IN ('requested', 'claimed', 'running') THEN 'void' ELSE state END,
            harness_token_hash = NULL, git_token_hash = NULL, model_token_hash = NULL
            WHERE task_id = NEW.task_id;
        DELETE FROM timers WHERE task_id = NEW.task_id;
    END IF;
    IF step <> 0 THEN
        INSERT INTO user_concurrency AS u (user_id, running) VALUES (NEW.user_id, greatest(step, 0))
            ON CONFLICT (user_id) DO UPDATE SET running = u.running + step;
        INSERT INTO repo_concurrency AS r (repo, running) VALUES (NEW.repo, greatest(step, 0))
            ON CONFLICT (repo) DO UPDATE SET running = r.running + step;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_slots AFTER UPDATE OF status ON tasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION count_slots();

CREATE FUNCTION forget_timeline() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM task_events WHERE task_id = OLD.task_id;
    DELETE FROM task_commands WHERE task_id = OLD.task_id;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_timeline AFTER DELETE ON task_heads FOR EACH ROW EXECUTE FUNCTION forget_timeline();

-- Appends one event: dense seq, a strictly greater event_id, the outbox row, and what `status` shows; all under the
-- head's row lock, so the order of ids is the order of commits.
CREATE FUNCTION append_event(p_task text, p_attempt int, p_type text, p_metadata jsonb)
    RETURNS TABLE (seq bigint, event_id text) LANGUAGE plpgsql AS $$
DECLARE
    h task_heads;
    at timestamptz := clock_timestamp();
    id text;
BEGIN
    UPDATE task_heads AS t SET
        seq = t.seq + 1,
        last_event_ms = greatest((extract(epoch FROM at) * 1000)::bigint, t.last_event_ms + 1),
        last_event_type = p_type,
        last_event_at = at,
        turn = CASE WHEN p_type = 'agent_turn'
            THEN greatest(t.turn, coalesce((p_metadata ->> 'turn')::int, t.turn)) ELSE t.turn END,
        current_tool = CASE p_type WHEN 'agent_tool_call' THEN p_metadata ->> 'tool_name'
            WHEN 'agent_tool_result' THEN NULL ELSE t.current_tool END,
        last_milestone = CASE WHEN p_type = 'agent_milestone' THEN p_metadata ->> 'milestone'
            ELSE t.last_milestone END,
        last_milestone_at = CASE WHEN p_type = 'agent_milestone' THEN at ELSE t.last_milestone_at END
        WHERE t.task_id = p_task RETURNING * INTO h;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'task % has no head', p_task USING ERRCODE = 'BG002';
    END IF;
    id := new_ulid(h.last_event_ms);
    INSERT INTO task_events VALUES (p_task, h.seq, id, p_type, at, p_attempt, p_metadata);
    PERFORM publish_event(h, h.seq, id, p_type, at, p_attempt, p_metadata);
    RETURN QUERY SELECT h.seq, id;
END $$;

-- The outbox row of an event. Also how a lost message is made again from the event that it tells.
CREATE FUNCTION publish_event(h task_heads, p_seq bigint, p_id text, p_type text, p_at timestamptz, p_attempt int,
    p_metadata jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    VALUES (outbox_shard(h.task_id), 'events', h.task_id, p_seq, p_id, 'task.events', h.task_id || '.' || p_type,
        p_type, p_attempt, h.traceparent,
        json_build_object('event_id', p_id, 'task_id', h.task_id, 'seq', p_seq, 'event_type', p_type,
            'timestamp', p_at, 'attempt', p_attempt, 'user_id', h.user_id, 'repo', h.repo,
            'trace_id', split_part(h.traceparent, '-', 2), 'metadata', p_metadata));
END $$;

CREATE FUNCTION append_command(p_task text, p_attempt int, p_command text, p_payload jsonb)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    h task_heads;
    id text := new_ulid(now_ms());
BEGIN
    UPDATE task_heads AS t SET command_seq = t.command_seq + 1 WHERE t.task_id = p_task RETURNING * INTO h;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'task % has no head', p_task USING ERRCODE = 'BG002';
    END IF;
    INSERT INTO task_commands (task_id, seq, message_id, command, attempt, payload)
        VALUES (p_task, h.command_seq, id, p_command, p_attempt, p_payload);
    PERFORM publish_command(h, h.command_seq, id, p_command, p_attempt, p_payload);
    RETURN h.command_seq;
END $$;

CREATE FUNCTION publish_command(h task_heads, p_seq bigint, p_id text, p_command text, p_attempt int, p_payload jsonb)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    VALUES (outbox_shard(h.task_id), 'commands', h.task_id, p_seq, p_id, 'task.commands',
        h.task_id || '.' || p_command, p_command, p_attempt, h.traceparent,
        json_build_object('command_id', p_id, 'task_id', h.task_id, 'seq', p_seq, 'command', p_command,
            'attempt', p_attempt, 'payload', p_payload));
END $$;

-- A hint to the compute adapters. Not ordered and not counted: the session row is the truth, sweeps find what is lost.
CREATE FUNCTION append_compute(p_task text, p_attempt int, p_type text, p_routing_key text, p_payload json)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    SELECT outbox_shard(p_task), 'compute', p_task, 0, new_ulid(now_ms()), 'compute.commands', p_routing_key, p_type,
        p_attempt, traceparent, p_payload FROM task_heads WHERE task_id = p_task;
END $$;

CREATE FUNCTION seal_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('bgagent.audit'));
    SELECT chain INTO previous FROM audit_log ORDER BY id DESC LIMIT 1;
    NEW.chain := encode(sha256(convert_to(concat_ws(chr(31), coalesce(previous, ''), NEW.id, NEW.at, NEW.user_id,
        NEW.action, NEW.subject, NEW.detail), 'UTF8')), 'hex');
    RETURN NEW;
END $$;
CREATE TRIGGER seal_audit BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION seal_audit();

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'BG003';
END $$;
CREATE TRIGGER refuse_audit_change BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW
    EXECUTE FUNCTION refuse_audit_change();
