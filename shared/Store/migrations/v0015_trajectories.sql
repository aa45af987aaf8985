-- First, because a submit reads it before it writes a head.
-- What becomes of a task whose question nobody answered in time.
ALTER TABLE repos ADD COLUMN unanswered_question text NOT NULL DEFAULT 'continue'
    CHECK (unanswered_question IN ('continue', 'park'));

-- An answer that came after its agent had stopped waiting: it travels as a nudge, and no agent is told it as the answer.
ALTER TABLE task_questions ADD COLUMN is_late boolean NOT NULL DEFAULT false;

-- Trajectories: one file per task, in the artifact store. What its row says is of it; what lies behind is no part of it.
-- No key to the task: the row goes after its file, however early the task is deleted.
CREATE TABLE trajectories (
    task_id      ulid PRIMARY KEY,
    object_key   text NOT NULL,
    -- The part that was stored last.
    attempt      int NOT NULL,
    part         int NOT NULL,
    bytes        bigint NOT NULL,
    -- The agent's limit, or the platform's, cut it.
    is_truncated boolean NOT NULL DEFAULT false,
    -- That attempt has sent its end.
    is_complete  boolean NOT NULL DEFAULT false,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX trajectories_by_age ON trajectories (updated_at);

-- Read with every status, so it stands where that is read.
ALTER TABLE task_heads ADD COLUMN trajectory_bytes bigint;

-- Keys that the replicas of a service share, made by whichever needs one first.
CREATE TABLE signing_keys (
    purpose    text PRIMARY KEY,
    key        bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Time in which a task is put aside is time of waiting for people.
CREATE OR REPLACE FUNCTION guard_task_update() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF OLD.status IN ('AWAITING_APPROVAL', 'PARKED') THEN
        NEW.waited := OLD.waited + (NEW.status_changed_at - OLD.status_changed_at);
    END IF;
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
