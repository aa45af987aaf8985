-- Where no new work starts: '*' is everywhere, else a repository. What runs goes on.
CREATE TABLE pauses (
    scope     text COLLATE "C" PRIMARY KEY
        CHECK (scope = '*' OR scope ~ '^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$'),
    reason    text,
    user_id   ulid REFERENCES users ON DELETE SET NULL,
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Messages that a person has asked a consumer to handle once more, behind its position. The row goes in the transaction
-- of that work, so it too is done once.
CREATE TABLE message_replays (
    consumer       text NOT NULL,
    task_id        text COLLATE "C" NOT NULL,
    seq            bigint NOT NULL,
    dead_letter_id ulid NOT NULL REFERENCES dead_letters ON DELETE CASCADE,
    PRIMARY KEY (consumer, task_id, seq)
);

ALTER TABLE dead_letters ADD COLUMN settled_at timestamptz;
CREATE INDEX dead_letters_open ON dead_letters (created_at, dead_letter_id) WHERE state = 'open';
CREATE INDEX effects_dead ON effects (planned_at, effect_id) WHERE state = 'dead' AND kind = 'notification';
