-- What was done with more power than an owner's. Rows are appended and never changed: an admin who
-- could edit them could deny what they did.
CREATE TABLE audit_records (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Who, and as whom. No foreign keys: a record outlives whom and what it names.
    actor     text NOT NULL,
    acting_as text,
    action    text NOT NULL,
    target    text NOT NULL,
    details   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
);
CREATE INDEX audit_records_by_actor ON audit_records (actor, id DESC);
CREATE INDEX audit_records_by_acting_as ON audit_records (acting_as, id DESC) WHERE acting_as IS NOT NULL;
CREATE INDEX audit_records_by_target ON audit_records (target, id DESC);

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit records are append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_records_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- The admin's lists of turns, newest first.
CREATE UNIQUE INDEX turns_by_number ON turns (number DESC);
CREATE INDEX turns_by_user ON turns (user_id, number DESC);
CREATE INDEX turns_by_status ON turns (status, number DESC);
