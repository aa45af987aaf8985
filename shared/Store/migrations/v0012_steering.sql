-- What people say to a running agent, what they ask it and what it asks them. The inbox carries all of it to the agent.
CREATE TABLE task_nudges (
    -- Also the id of the inbox's item.
    nudge_id        ulid PRIMARY KEY,
    task_id         ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    user_id         ulid NOT NULL REFERENCES users,
    mode            text NOT NULL CHECK (mode IN ('next', 'steer', 'interrupt')),
    message         text NOT NULL CHECK (octet_length(message) BETWEEN 1 AND 2048),
    state           text NOT NULL DEFAULT 'accepted'
        CHECK (state IN ('accepted', 'acknowledged', 'delivered', 'withdrawn', 'expired')),
    submitted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    acknowledged_at timestamptz,
    delivered_at    timestamptz,
    -- The turn whose request of the model carried it.
    turn            int,
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL))
);
CREATE INDEX task_nudges_by_task ON task_nudges (task_id, nudge_id);

-- A person's questions. `expired` only says that nobody waits any more: an answer that comes late is kept.
CREATE TABLE task_asks (
    -- Also the id of the inbox's item.
    ask_id      ulid PRIMARY KEY,
    task_id     ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    user_id     ulid NOT NULL REFERENCES users,
    question    text NOT NULL CHECK (octet_length(question) BETWEEN 1 AND 2048),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'expired', 'closed')),
    answer      text,
    turn        int,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    answered_at timestamptz,
    CHECK ((state = 'answered') = (answered_at IS NOT NULL AND answer IS NOT NULL))
);
CREATE INDEX task_asks_by_task ON task_asks (task_id, ask_id);
CREATE UNIQUE INDEX task_asks_open ON task_asks (task_id, user_id) WHERE state = 'open';

-- The agent's questions. They belong to their attempt; the agent waits and obeys what stands here at the deadline.
CREATE TABLE task_questions (
    question_id ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    task_id     ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt     int NOT NULL,
    -- The agent's own name for it, so that a repeated call asks once.
    client_id   text NOT NULL,
    question    text NOT NULL,
    options     jsonb NOT NULL DEFAULT '[]',
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'expired', 'void')),
    answer      text,
    answered_by ulid REFERENCES users,
    asked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz,
    UNIQUE (task_id, attempt, client_id),
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK ((state = 'answered') = (answer IS NOT NULL))
);
CREATE INDEX task_questions_open ON task_questions (task_id) WHERE state = 'open';

-- What an attempt has taken is shown to the next one when it was not delivered; what is bound to an attempt, to no other.
ALTER TABLE inbox ADD COLUMN attempt int, ADD COLUMN acknowledged_attempt int, ADD COLUMN withdrawn_at timestamptz;

-- A gate: the agent waits for leave to do one thing. It belongs to its attempt and names the call by what is in it.
ALTER TABLE task_approvals
    ADD COLUMN client_id  text,
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN decided_by ulid REFERENCES users,
    ADD COLUMN scope      text,
    ADD COLUMN reason     text,
    ADD CONSTRAINT task_approvals_client UNIQUE (task_id, attempt, client_id);

-- What people have allowed for the rest of a task: kept here, so that the next attempt knows it too.
CREATE TABLE task_allowances (
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    scope      text COLLATE "C" NOT NULL CHECK (octet_length(scope) BETWEEN 1 AND 500),
    user_id    ulid NOT NULL REFERENCES users,
    allowed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (task_id, scope)
);

-- Time that a task waited for people is not the task's.
ALTER TABLE tasks ADD COLUMN waited interval NOT NULL DEFAULT '0';

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
    IF OLD.status = 'AWAITING_APPROVAL' THEN
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

-- Whether its agents ask people before they do what the built-in soft rules name, and are refused what the hard ones do.
ALTER TABLE repos ADD COLUMN approval_gates boolean NOT NULL DEFAULT false;
