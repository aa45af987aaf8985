-- A repository's own rules, and who decides what they ask.
ALTER TABLE repos
    -- Cedar, which the policy service has read; the built-in rules are not in it.
    ADD COLUMN policies           text NOT NULL DEFAULT '' CHECK (octet_length(policies) <= 65536),
    -- Names of users; empty = whoever may steer the task.
    ADD COLUMN approvers          text[] NOT NULL DEFAULT '{}',
    -- Nobody approves what they submitted themselves.
    ADD COLUMN second_person      boolean NOT NULL DEFAULT false,
    ADD COLUMN approval_gate_cap  int NOT NULL DEFAULT 50 CHECK (approval_gate_cap BETWEEN 1 AND 500),
    -- No gate waits longer; null = as long as the rules say.
    ADD COLUMN approval_timeout_s int CHECK (approval_timeout_s BETWEEN 30 AND 3600),
    -- Lets a push through that seems to hold secrets, for repositories whose tests hold made-up ones.
    ADD COLUMN allow_secrets      boolean NOT NULL DEFAULT false;
