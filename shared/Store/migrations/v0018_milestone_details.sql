-- What an agent says of its progress is shown with a task's status: its milestone's own words.
ALTER TABLE task_heads ADD COLUMN last_milestone_details text;

CREATE OR REPLACE FUNCTION append_event(p_task text, p_attempt int, p_type text, p_metadata jsonb)
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
        last_milestone_at = CASE WHEN p_type = 'agent_milestone' THEN at ELSE t.last_milestone_at END,
        last_milestone_details = CASE WHEN p_type = 'agent_milestone' THEN left(p_metadata ->> 'details', 300)
            ELSE t.last_milestone_details END
        WHERE t.task_id = p_task RETURNING * INTO h;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'task % has no head', p_task USING ERRCODE = 'BG002';
    END IF;
    id := new_ulid(h.last_event_ms);
    INSERT INTO task_events VALUES (p_task, h.seq, id, p_type, at, p_attempt, p_metadata);
    PERFORM publish_event(h, h.seq, id, p_type, at, p_attempt, p_metadata);
    RETURN QUERY SELECT h.seq, id;
END $$;
