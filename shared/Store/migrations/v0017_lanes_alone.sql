-- A claim looks at its own lane, and at nothing else. While the ledger is empty the planner has no figures to choose an
-- index by, and an index that begins with the channel looked as good to it as the lane's: every claim then walked over
-- all that was due on its channel, for as long as the session kept the plan. So no index begins with the channel alone.
DROP INDEX effects_open;
CREATE INDEX effects_due ON effects (next_at) WHERE state IN ('planned', 'unknown');
CREATE INDEX effects_claimed ON effects (claim_until) WHERE state = 'sending';
