-- Login sessions beside API tokens, passwords that work once, grants per repository, and what retention needs to find.

ALTER TABLE api_tokens ADD COLUMN kind text NOT NULL DEFAULT 'api' CHECK (kind IN ('api', 'session'));
-- A session always ends by itself.
ALTER TABLE api_tokens ADD CONSTRAINT session_expires CHECK (kind <> 'session' OR expires_at IS NOT NULL);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, token_id);
CREATE INDEX api_tokens_sessions ON api_tokens (expires_at) WHERE kind = 'session';

-- A password that an administrator was shown opens one login, which must bring the person's own; until it expires.
ALTER TABLE users ADD COLUMN password_once_until timestamptz;

-- Open: every member works here. Restricted: those with a grant alone, and to all others it does not exist.
ALTER TABLE repos ADD COLUMN access text NOT NULL DEFAULT 'open' CHECK (access IN ('open', 'restricted'));

-- read: its settings and everybody's tasks. submit: tasks of one's own as well. steer: everybody's tasks as well.
CREATE TABLE repo_grants (
    repo       text COLLATE "C" NOT NULL REFERENCES repos ON DELETE CASCADE,
    user_id    ulid NOT NULL REFERENCES users ON DELETE CASCADE,
    level      text NOT NULL CHECK (level IN ('read', 'submit', 'steer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repo, user_id)
);
CREATE INDEX repo_grants_by_user ON repo_grants (user_id, repo);
CREATE INDEX tasks_by_repo ON tasks (repo, created_at DESC, task_id DESC);

-- Retention goes by these; and what goes with a task is found without a look at all rows.
CREATE INDEX tasks_ended ON tasks (completed_at, task_id) WHERE completed_at IS NOT NULL;
CREATE INDEX effects_settled ON effects (planned_at) WHERE state IN ('sent', 'dead', 'superseded');
CREATE INDEX inbox_by_task ON inbox (task_id);
CREATE INDEX task_approvals_by_task ON task_approvals (task_id);
CREATE INDEX channel_state_by_task ON channel_state (task_id);
CREATE INDEX consumer_positions_by_task ON consumer_positions (task_id);
CREATE INDEX parked_messages_by_task ON parked_messages (task_id);
CREATE INDEX stream_heads_by_task ON stream_heads (task_id);
CREATE INDEX dead_letters_by_task ON dead_letters (task_id);

-- Tasks that retention has deleted. A message of one that comes again finds no position any more; by this row its
-- consumer knows that it is done.
CREATE TABLE deleted_tasks (
    task_id    text COLLATE "C" PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deleted_tasks_by_age ON deleted_tasks (deleted_at);
