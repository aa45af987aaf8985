-- The chain follows the ids: an id that was taken before the lock could be sealed after a higher one, and then two rows
-- were sealed over the same one before them. Times go in as UTC, so that whoever checks need not know the writer's zone.
CREATE FUNCTION audit_seal(previous text, a audit_log) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256(convert_to(concat_ws(chr(31), coalesce(previous, ''), a.id, iso(a.at), a.user_id, a.action,
        a.subject, a.detail), 'UTF8')), 'hex')
$$;

CREATE OR REPLACE FUNCTION seal_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('bgagent.audit'));
    NEW.id := nextval('audit_log_id_seq');
    NEW.chain := audit_seal((SELECT chain FROM audit_log ORDER BY id DESC LIMIT 1), NEW);
    RETURN NEW;
END $$;

-- The first row that was changed, or before which one is missing; null while the chain is whole.
CREATE FUNCTION audit_breach() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT min(id) FROM (SELECT a.id, a.chain, audit_seal(lag(a.chain) OVER (ORDER BY a.id), a) AS sealed
        FROM audit_log a) AS checked WHERE chain <> sealed
$$;
