-- Sessions, timers, checkpoints, what consumers remember, and the ledger of outside effects.

-- One attempt of a task. The lease is the only sign of life; every write of the agent names its attempt.
CREATE TABLE sessions (
    task_id            ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt            int NOT NULL,
    state              text NOT NULL DEFAULT 'requested'
        CHECK (state IN ('requested', 'claimed', 'running', 'ended', 'void')),
    backend            text NOT NULL,
    node               text,
    lease_until        timestamptz,
    payload            jsonb NOT NULL,
    harness_token_hash text COLLATE "C" UNIQUE,
    git_token_hash     text COLLATE "C" UNIQUE,
    model_token_hash   text COLLATE "C" UNIQUE,
    last_client_seq    bigint NOT NULL DEFAULT 0,
    reserved_usd       numeric(14, 6) NOT NULL DEFAULT 0,
    result             jsonb,
    requested_at       timestamptz NOT NULL DEFAULT now(),
    claimed_at         timestamptz,
    started_at         timestamptz,
    ended_at           timestamptz,
    PRIMARY KEY (task_id, attempt),
    CHECK (state NOT IN ('claimed', 'running') OR (node IS NOT NULL AND lease_until IS NOT NULL))
);
CREATE INDEX sessions_live ON sessions (lease_until) WHERE state IN ('claimed', 'running');
CREATE INDEX sessions_requested ON sessions (requested_at) WHERE state = 'requested';

CREATE TABLE timers (
    task_id ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt int NOT NULL,
    kind    text NOT NULL,
    due_at  timestamptz NOT NULL,
    PRIMARY KEY (task_id, attempt, kind)
);
CREATE INDEX timers_due ON timers (due_at);

-- What a next attempt starts from: committed when the commit is in staging and its bundle is stored.
CREATE TABLE checkpoints (
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt    int NOT NULL,
    turn       int NOT NULL,
    commit_sha text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, attempt, turn, commit_sha)
);

CREATE TABLE git_pushes (
    push_id    ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt    int NOT NULL,
    ref        text NOT NULL,
    old_sha    text NOT NULL,
    new_sha    text NOT NULL,
    verdict    text NOT NULL CHECK (verdict IN ('accepted', 'refused')),
    reason     text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX git_pushes_by_task ON git_pushes (task_id, created_at);

CREATE TABLE artifacts (
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    kind       text NOT NULL,
    name       text NOT NULL,
    path       text NOT NULL,
    sha256     text NOT NULL,
    bytes      bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task_id, kind, name)
);

-- A person's word on its way to the agent. Later kinds: nudge, ask, decision.
CREATE TABLE inbox (
    item_id         ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    task_id         ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    kind            text NOT NULL,
    payload         jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    delivered_at    timestamptz
);
CREATE INDEX inbox_open ON inbox (task_id, item_id) WHERE delivered_at IS NULL;

-- What a person has to decide. AWAITING_APPROVAL means that at least one row here is open.
CREATE TABLE task_approvals (
    request_id ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    task_id    ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt    int NOT NULL,
    status     text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'APPROVED', 'DENIED', 'TIMED_OUT', 'VOID')),
    request    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    decided_at timestamptz,
    CHECK ((status = 'PENDING') = (decided_at IS NULL))
);
CREATE INDEX task_approvals_open ON task_approvals (task_id) WHERE status = 'PENDING';

-- How far a consumer has come in a task's stream. Written in the transaction of the consumer's own work.
CREATE TABLE consumer_positions (
    consumer text NOT NULL,
    task_id  text COLLATE "C" NOT NULL,
    last_seq bigint NOT NULL,
    PRIMARY KEY (consumer, task_id)
) WITH (fillfactor = 70);

-- Messages that wait: for their turn, for a retry, or for the missing one before them.
CREATE TABLE parked_messages (
    consumer  text NOT NULL,
    task_id   text COLLATE "C" NOT NULL,
    seq       bigint NOT NULL,
    queue     text NOT NULL,
    message   json NOT NULL,
    attempts  int NOT NULL DEFAULT 0,
    reason    text NOT NULL,
    due_at    timestamptz NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, task_id, seq)
);
CREATE INDEX parked_messages_due ON parked_messages (consumer, queue, due_at);

CREATE TABLE message_attempts (
    consumer   text NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    attempts   int NOT NULL,
    PRIMARY KEY (consumer, message_id)
);

CREATE TABLE dead_letters (
    dead_letter_id ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    consumer       text NOT NULL,
    queue          text NOT NULL,
    task_id        text,
    seq            bigint,
    message_id     text,
    reason         text NOT NULL,
    body           text NOT NULL,
    state          text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'dropped')),
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- Counters of streams other than events and commands: dense per stream and task.
CREATE TABLE stream_heads (
    stream  text NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (stream, task_id)
) WITH (fillfactor = 70);

-- A notification channel exists because its dispatcher (or an administrator) wrote a row here; fanout knows no other.
CREATE TABLE channels (
    name           text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,30}$'),
    default_events text[] NOT NULL,
    verbose_events text[] NOT NULL DEFAULT '{}',
    target_schema  jsonb NOT NULL DEFAULT '{}',
    default_target text,
    registered_at  timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now()
);

-- The ledger of law 5. A lane is (channel, task, target); `position` is the order within it.
-- planned: intended. sending: claimed under a lease. unknown: may have happened, look it up. sent, dead, superseded: over.
CREATE TABLE effects (
    effect_id    text COLLATE "C" PRIMARY KEY,
    position     bigint GENERATED ALWAYS AS IDENTITY,
    task_id      ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    kind         text NOT NULL DEFAULT 'notification' CHECK (kind IN ('notification', 'pull_request')),
    channel      text NOT NULL,
    target       text NOT NULL,
    event_id     text COLLATE "C",
    event_seq    bigint,
    stream_seq   bigint,
    event_type   text NOT NULL,
    payload      jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'sending', 'unknown', 'sent', 'dead', 'superseded')),
    attempts     int NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now(),
    claim_token  text,
    claim_until  timestamptz,
    external_ref text,
    last_error   text,
    planned_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at      timestamptz,
    CHECK ((state = 'sending') = (claim_token IS NOT NULL AND claim_until IS NOT NULL)),
    CHECK (state <> 'sent' OR sent_at IS NOT NULL)
);
CREATE INDEX effects_open ON effects (channel, next_at) WHERE state IN ('planned', 'sending', 'unknown');
CREATE INDEX effects_lane ON effects (channel, task_id, target, position)
    WHERE state IN ('planned', 'sending', 'unknown');
CREATE INDEX effects_by_task ON effects (task_id, position);

-- What a channel must remember of a lane: the Slack root message, the GitHub comment.
CREATE TABLE channel_state (
    channel text NOT NULL,
    task_id ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    target  text NOT NULL,
    state   jsonb NOT NULL,
    PRIMARY KEY (channel, task_id, target)
);

-- Plans one notification: ledger row, dense stream position and outbox row. False when it was planned before.
CREATE FUNCTION plan_notification(p_effect text, p_task text, p_attempt int, p_channel text, p_target text,
    p_event_id text, p_event_seq bigint, p_event_type text, p_payload jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    s bigint;
BEGIN
    INSERT INTO effects (effect_id, task_id, channel, target, event_id, event_seq, event_type, payload)
        VALUES (p_effect, p_task, p_channel, p_target, p_event_id, p_event_seq, p_event_type, p_payload)
        ON CONFLICT (effect_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO stream_heads AS h (stream, task_id, seq) VALUES ('notifications.' || p_channel, p_task, 1)
        ON CONFLICT (stream, task_id) DO UPDATE SET seq = h.seq + 1 RETURNING h.seq INTO s;
    UPDATE effects SET stream_seq = s WHERE effect_id = p_effect;
    PERFORM publish_notification(p_effect, p_attempt);
    RETURN true;
END $$;

-- The outbox row of a planned notification; also how a lost one is made again.
CREATE FUNCTION publish_notification(p_effect text, p_attempt int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (shard, stream, task_id, stream_seq, message_id, exchange, routing_key, type, attempt,
        traceparent, payload)
    SELECT outbox_shard(e.task_id), 'notifications.' || e.channel, e.task_id, e.stream_seq, e.effect_id,
        'notifications', e.channel || '.' || e.task_id, e.event_type, p_attempt, h.traceparent,
        json_build_object('notification_id', e.effect_id, 'channel', e.channel, 'target', e.target,
            'task_id', e.task_id, 'seq', e.stream_seq, 'event_id', e.event_id, 'event_type', e.event_type,
            'payload', e.payload)
        FROM effects e JOIN task_heads h USING (task_id) WHERE e.effect_id = p_effect;
END $$;
