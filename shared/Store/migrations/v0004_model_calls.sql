-- Requests to the model that are under way, each with the money kept back for it. A row is kept alive by the process
-- that serves the request and goes when the request is settled; what a dead process leaves is charged by its estimate.
CREATE TABLE model_calls (
    call_id      ulid PRIMARY KEY DEFAULT new_ulid(now_ms()),
    task_id      ulid NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt      int NOT NULL,
    gateway      text NOT NULL,
    model        text NOT NULL,
    estimate_usd numeric(14, 6) NOT NULL CHECK (estimate_usd >= 0),
    alive_until  timestamptz NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX model_calls_by_task ON model_calls (task_id);

-- The reservation of a session is the sum of its rows above.
ALTER TABLE sessions DROP COLUMN reserved_usd;
