-- People, tasks, their events and the outbox: what law 1 ("state, event and message commit together") needs.
-- Identifiers are ULID text in the C collation, money is numeric, time is timestamptz.

-- What says more than one expression is PL/pgSQL: its plans are kept, where the body of an SQL function is parsed and
-- planned anew in every statement (measured: an append took twice as long).

-- The ten characters of a ULID that carry its time, so that ids sort by the database's clock.
CREATE FUNCTION ulid_time(ms bigint) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    a CONSTANT text := '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
BEGIN
    RETURN substr(a, ((ms >> 45) & 31)::int + 1, 1) || substr(a, ((ms >> 40) & 31)::int + 1, 1)
        || substr(a, ((ms >> 35) & 31)::int + 1, 1) || substr(a, ((ms >> 30) & 31)::int + 1, 1)
        || substr(a, ((ms >> 25) & 31)::int + 1, 1) || substr(a, ((ms >> 20) & 31)::int + 1, 1)
        || substr(a, ((ms >> 15) & 31)::int + 1, 1) || substr(a, ((ms >> 10) & 31)::int + 1, 1)
        || substr(a, ((ms >> 5) & 31)::int + 1, 1) || substr(a, (ms & 31)::int + 1, 1);
END $$;

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- A hexadecimal digit is a digit of the ULID alphabet too: 64 random bits, none of a UUID's fixed ones.
CREATE FUNCTION new_ulid(ms bigint) RETURNS text LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE
    h CONSTANT text := upper(replace(gen_random_uuid()::text, '-', ''));
BEGIN
    RETURN ulid_time(ms) || substr(h, 1, 12) || substr(h, 18, 4);
END $$;

-- The one text form of a time that people and programs see.
CREATE FUNCTION iso(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

CREATE DOMAIN ulid AS text COLLATE "C" CHECK (VALUE ~ '^[0-7][0-9A-HJKMNP-TV-Z]{25}$');

CREATE TABLE users (
    user_id        ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    name           text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    email          text,
    role           text NOT NULL DEFAULT 'member' CHECK (role IN ('admin', 'member', 'viewer')),
    password_hash  text,
    notifications  jsonb NOT NULL DEFAULT '{}',
    max_concurrent int CHECK (max_concurrent > 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    disabled_at    timestamptz
);

-- Only a hash is kept: a copy of the database opens no door.
CREATE TABLE api_tokens (
    token_id   ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    user_id    ulid NOT NULL REFERENCES users ON DELETE CASCADE,
    name       text NOT NULL,
    token_hash text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

CREATE TABLE repos (
    repo                    text COLLATE "C" PRIMARY KEY
        CHECK (repo ~ '^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$'),
    forge                   text NOT NULL DEFAULT 'github' CHECK (forge IN ('github')),
    default_branch          text,
    model                   text,
    max_turns               int CHECK (max_turns BETWEEN 1 AND 500),
    max_budget_usd          numeric(12, 6) CHECK (max_budget_usd BETWEEN 0.01 AND 100),
    max_duration_s          int CHECK (max_duration_s > 0),
    max_concurrent          int CHECK (max_concurrent > 0),
    setup_command           text,
    build_command           text,
    test_command            text,
    lint_command            text,
    system_prompt_overrides text,
    credential_ref          text CHECK (credential_ref ~ '^[A-Za-z0-9._-]+$'),
    allow_ci_changes        boolean NOT NULL DEFAULT false,
    commit_name             text,
    commit_email            text,
    notifications           jsonb NOT NULL DEFAULT '{}',
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    deleted_at              timestamptz
);

-- The one table of moves. A trigger refuses every other, whoever writes it.
CREATE TABLE task_transitions (
    from_status text NOT NULL,
    to_status   text NOT NULL,
    PRIMARY KEY (from_status, to_status)
);
INSERT INTO task_transitions VALUES
    ('SUBMITTED', 'QUEUED'), ('SUBMITTED', 'HYDRATING'), ('SUBMITTED', 'FAILED'), ('SUBMITTED', 'CANCELLED'),
    ('QUEUED', 'HYDRATING'), ('QUEUED', 'FAILED'), ('QUEUED', 'CANCELLED'),
    ('HYDRATING', 'RUNNING'), ('HYDRATING', 'QUEUED'), ('HYDRATING', 'FAILED'), ('HYDRATING', 'CANCELLED'),
    ('RUNNING', 'AWAITING_APPROVAL'), ('RUNNING', 'FINALIZING'), ('RUNNING', 'PARKED'), ('RUNNING', 'QUEUED'),
    ('RUNNING', 'FAILED'), ('RUNNING', 'CANCELLED'), ('RUNNING', 'TIMED_OUT'),
    ('AWAITING_APPROVAL', 'RUNNING'), ('AWAITING_APPROVAL', 'FINALIZING'), ('AWAITING_APPROVAL', 'PARKED'),
    ('AWAITING_APPROVAL', 'QUEUED'), ('AWAITING_APPROVAL', 'FAILED'), ('AWAITING_APPROVAL', 'CANCELLED'),
    ('AWAITING_APPROVAL', 'TIMED_OUT'),
    ('PARKED', 'QUEUED'), ('PARKED', 'FAILED'), ('PARKED', 'CANCELLED'),
    ('FINALIZING', 'COMPLETED'), ('FINALIZING', 'FAILED'), ('FINALIZING', 'CANCELLED'), ('FINALIZING', 'TIMED_OUT');

CREATE FUNCTION is_final(status text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')
$$;

-- These states hold a user slot, a repo slot and a place on a compute node.
CREATE FUNCTION holds_slot(status text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT status IN ('HYDRATING', 'RUNNING', 'AWAITING_APPROVAL', 'FINALIZING')
$$;

CREATE TABLE tasks (
    task_id             ulid PRIMARY KEY,
    user_id             ulid NOT NULL REFERENCES users,
    repo                text COLLATE "C" NOT NULL REFERENCES repos,
    issue_number        int CHECK (issue_number > 0),
    task_description    text CHECK (length(task_description) <= 10000),
    workflow            text NOT NULL DEFAULT 'coding/new-task-v1',
    channel_source      text NOT NULL DEFAULT 'api',
    channel_metadata    jsonb NOT NULL DEFAULT '{}',
    status              text NOT NULL DEFAULT 'SUBMITTED' CHECK (status IN
        ('SUBMITTED', 'QUEUED', 'HYDRATING', 'RUNNING', 'AWAITING_APPROVAL', 'PARKED', 'FINALIZING',
         'COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')),
    version             bigint NOT NULL DEFAULT 1,
    attempt             int NOT NULL DEFAULT 1 CHECK (attempt > 0),
    max_attempts        int NOT NULL DEFAULT 2 CHECK (max_attempts > 0),
    branch_name         text NOT NULL,
    base_branch         text,
    -- Limits and the repository's settings are frozen at submit: a later change of the repository is the next task's.
    model               text NOT NULL,
    max_turns           int NOT NULL CHECK (max_turns BETWEEN 1 AND 500),
    max_budget_usd      numeric(12, 6) CHECK (max_budget_usd BETWEEN 0.01 AND 100),
    max_duration_s      int NOT NULL CHECK (max_duration_s > 0),
    settings            jsonb NOT NULL DEFAULT '{}',
    notifications       jsonb NOT NULL DEFAULT '{}',
    outcome             text,
    pr_url              text,
    pr_number           int,
    head_sha            text,
    answer_text         text,
    error               jsonb,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    -- Tries of what the present state has to do (checks, finalization); a move starts anew.
    step_attempts       int NOT NULL DEFAULT 0,
    wake_condition      jsonb,
    traceparent         text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    status_changed_at   timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    completed_at        timestamptz,
    CHECK (task_description IS NOT NULL OR issue_number IS NOT NULL),
    -- The states in full: a function in a check is planned anew for every row that is written.
    CONSTRAINT final_has_end CHECK
        ((status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT')) = (completed_at IS NOT NULL)),
    CONSTRAINT failed_has_error CHECK (status <> 'FAILED' OR error IS NOT NULL),
    CONSTRAINT parked_has_wake CHECK ((status = 'PARKED') = (wake_condition IS NOT NULL)),
    CONSTRAINT running_has_start CHECK (status NOT IN ('RUNNING', 'AWAITING_APPROVAL', 'FINALIZING')
        OR started_at IS NOT NULL)
);
CREATE INDEX tasks_by_user ON tasks (user_id, created_at DESC, task_id DESC);
CREATE INDEX tasks_newest ON tasks (created_at DESC, task_id DESC);
CREATE INDEX tasks_waiting ON tasks (user_id, created_at, task_id) WHERE status IN ('SUBMITTED', 'QUEUED');
CREATE INDEX tasks_open ON tasks (status, status_changed_at) WHERE NOT is_final(status);

-- The hot row of a task: event and command counters, and what `status` shows.
CREATE TABLE task_heads (
    task_id           ulid PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    user_id           ulid NOT NULL,
    repo              text COLLATE "C" NOT NULL,
    seq               bigint NOT NULL DEFAULT 0,
    command_seq       bigint NOT NULL DEFAULT 0,
    last_event_ms     bigint NOT NULL DEFAULT 0,
    last_event_type   text,
    last_event_at     timestamptz,
    turn              int NOT NULL DEFAULT 0,
    cost_usd          numeric(14, 6) NOT NULL DEFAULT 0,
    current_tool      text,
    last_milestone    text,
    last_milestone_at timestamptz,
    traceparent       text NOT NULL
) WITH (fillfactor = 50);

-- Rows of the timeline come through the head, which has the key to its task, and go with it (v0002). A key of their own
-- would lock the task's row behind the head's at every append: against the lock order.
CREATE TABLE task_events (
    task_id    ulid NOT NULL,
    seq        bigint NOT NULL CHECK (seq > 0),
    event_id   ulid NOT NULL,
    event_type text NOT NULL,
    timestamp  timestamptz NOT NULL,
    attempt    int NOT NULL,
    metadata   jsonb NOT NULL,
    PRIMARY KEY (task_id, seq)
);
CREATE UNIQUE INDEX task_events_by_id ON task_events (task_id, event_id);

-- Commands stay after they were published: a lost one is published again from here, and they answer "what was asked".
CREATE TABLE task_commands (
    task_id    ulid NOT NULL,
    seq        bigint NOT NULL CHECK (seq > 0),
    message_id ulid NOT NULL,
    command    text NOT NULL,
    attempt    int NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, seq)
);

-- What must be published. A row goes when the broker has confirmed it. The shard is the relay's unit of ownership.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard       smallint NOT NULL,
    stream      text NOT NULL,
    task_id     text COLLATE "C" NOT NULL,
    stream_seq  bigint NOT NULL,
    message_id  text COLLATE "C" NOT NULL,
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    type        text NOT NULL,
    attempt     int NOT NULL,
    traceparent text NOT NULL,
    payload     json NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION outbox_shard(task_id text) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashtext(task_id) & 7)::smallint
$$;

CREATE TABLE idempotency_keys (
    user_id    ulid NOT NULL REFERENCES users ON DELETE CASCADE,
    key        text COLLATE "C" NOT NULL,
    body_hash  text COLLATE "C" NOT NULL,
    task_id    ulid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

CREATE TABLE user_concurrency (
    user_id       ulid PRIMARY KEY,
    running       int NOT NULL DEFAULT 0 CHECK (running >= 0),
    -- Whose turn it is: admission serves the user who waited longest since the last start.
    last_admitted timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE TABLE repo_concurrency (
    repo    text COLLATE "C" PRIMARY KEY,
    running int NOT NULL DEFAULT 0 CHECK (running >= 0)
);

CREATE TABLE compute_nodes (
    node      text PRIMARY KEY,
    backend   text NOT NULL,
    capacity  int NOT NULL CHECK (capacity > 0),
    last_seen timestamptz NOT NULL DEFAULT now(),
    draining  boolean NOT NULL DEFAULT false
);

-- Append-only, each row sealed over the one before it: a removed or changed row breaks the chain.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id    text,
    action     text NOT NULL,
    subject    text NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    chain      text NOT NULL DEFAULT ''
);
