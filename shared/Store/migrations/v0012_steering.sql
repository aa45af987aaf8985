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
