-- The processes that consume: by the order in which they joined, the partitions of their consumer are shared out.
CREATE TABLE consumer_members (
    consumer      text NOT NULL,
    member_id     ulid NOT NULL,
    joined        bigint GENERATED ALWAYS AS IDENTITY,
    -- When it was here last, and since when it has been here without a pause.
    seen_at       timestamptz NOT NULL,
    since         timestamptz NOT NULL,
    -- After so many seconds of silence it is gone.
    lease_seconds float8 NOT NULL CHECK (lease_seconds > 0),
    -- The number of its place in the line of each partition; 0 where it stands in none.
    places        bigint[] NOT NULL,
    PRIMARY KEY (consumer, member_id)
) WITH (fillfactor = 50);
