-- What operators ask a running system: self-reports of the processes, checks of repositories, the log of a task, and
-- what a sandbox uses. None of it decides anything; the truth is elsewhere.

-- What each process says of itself, every `every_s` seconds. A row goes when its process stops, or after a day.
CREATE TABLE service_reports (
    service    text NOT NULL,
    instance   text NOT NULL,
    version    text NOT NULL,
    schema     int NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    every_s    double precision NOT NULL CHECK (every_s > 0),
    checks     jsonb NOT NULL,
    PRIMARY KEY (service, instance)
);

-- A person asks for a check of a repository, an orchestrator makes it. `taken_at` keeps two from making the same one.
CREATE TABLE repo_checks (
    repo         text COLLATE "C" PRIMARY KEY REFERENCES repos ON DELETE CASCADE,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at     timestamptz,
    checked_at   timestamptz,
    result       jsonb,
    CHECK ((checked_at IS NULL) = (result IS NULL))
);
CREATE INDEX repo_checks_open ON repo_checks (requested_at) WHERE checked_at IS NULL OR checked_at < requested_at;

-- The counter behind a task's log. Its row lock makes the order of `seq` the order of commits, so that a reader who
-- pages by `seq` misses nothing; an identity column would not: its numbers commit out of order.
CREATE TABLE task_log_heads (
    task_id      ulid PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    seq          bigint NOT NULL DEFAULT 0,
    -- Lines by service, to keep one that talks without end from filling the disk.
    lines        jsonb NOT NULL DEFAULT '{}',
    output_bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE task_logs (
    task_id  ulid NOT NULL REFERENCES task_log_heads ON DELETE CASCADE,
    seq      bigint NOT NULL CHECK (seq > 0),
    at       timestamptz NOT NULL,
    service  text NOT NULL,
    instance text NOT NULL,
    attempt  int,
    level    text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    message  text NOT NULL,
    fields   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (task_id, seq)
);

-- Appends lines of one service to the log of a task and returns how many it took; none when there is no such task.
-- Beyond `p_max_lines` of the service, or `p_max_bytes` of output of the sandbox, one line says so and nothing follows.
CREATE FUNCTION append_task_logs(p_task text, p_service text, p_instance text, p_max_lines int, p_bytes bigint,
    p_max_bytes bigint, p_lines jsonb) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    h task_log_heads;
    had int;
    n int := jsonb_array_length(p_lines);
    room int;
    marked boolean;
    marker text;
BEGIN
    INSERT INTO task_log_heads (task_id) SELECT t.task_id FROM tasks t WHERE t.task_id = p_task
        ON CONFLICT (task_id) DO NOTHING;
    SELECT * INTO h FROM task_log_heads t WHERE t.task_id = p_task FOR NO KEY UPDATE;
    IF NOT FOUND OR n = 0 THEN
        RETURN 0;
    END IF;
    had := coalesce((h.lines ->> p_service)::int, 0);
    -- -1 stands for "the marker is written".
    IF had < 0 THEN
        RETURN 0;
    END IF;
    room := least(n, greatest(p_max_lines - had, 0));
    marked := room < n;
    marker := 'this service wrote more than ' || p_max_lines || ' lines; the rest is in its own log alone';
    IF p_bytes > 0 AND h.output_bytes + p_bytes > p_max_bytes THEN
        room := 0;
        marked := true;
        marker := 'the output is over ' || p_max_bytes || ' bytes; the rest is not kept';
    END IF;
    INSERT INTO task_logs (task_id, seq, at, service, instance, attempt, level, message, fields)
    SELECT p_task, h.seq + e.n, coalesce((e.line ->> 'at')::timestamptz, clock_timestamp()), p_service, p_instance,
        (e.line ->> 'attempt')::int, e.line ->> 'level', e.line ->> 'message', coalesce(e.line -> 'fields', '{}')
        FROM jsonb_array_elements(p_lines) WITH ORDINALITY AS e (line, n) WHERE e.n <= room;
    IF marked THEN
        INSERT INTO task_logs (task_id, seq, at, service, instance, level, message)
        VALUES (p_task, h.seq + room + 1, clock_timestamp(), p_service, p_instance, 'warning', marker);
    END IF;
    UPDATE task_log_heads SET seq = h.seq + room + marked::int,
        lines = h.lines || jsonb_build_object(p_service, CASE WHEN marked THEN -1 ELSE had + room END),
        output_bytes = h.output_bytes + CASE WHEN marked THEN 0 ELSE p_bytes END
        WHERE task_id = p_task;
    RETURN room;
END $$;

-- How far the sandbox's output was taken into the log, in the transaction that took it; and what the sandbox uses.
ALTER TABLE sessions ADD COLUMN output_offset bigint NOT NULL DEFAULT 0, ADD COLUMN usage jsonb;
