-- A claim looks at its own task, and at nothing else. While the ledger is empty the planner has no figures to choose an
-- index by, and one of all that is open on a channel looked as good to it as the lane's: every claim then walked over the
-- whole backlog, for as long as the session kept the plan. So of the indexes that say what is open, only the lane's says
-- no more than a claim asks for: the others cannot be used for it.
DROP INDEX effects_open;
CREATE INDEX effects_due ON effects (channel, next_at) WHERE state IN ('planned', 'unknown') AND claim_token IS NULL;
CREATE INDEX effects_claimed ON effects (channel, claim_until) WHERE state = 'sending';

-- Retention removes the attempts of a deleted task's messages, whichever consumer counted them.
CREATE INDEX message_attempts_by_message ON message_attempts (message_id);
