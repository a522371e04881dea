-- The sandbox outside that a session has for its commands, where there are such. A row outlives its
-- session, and goes when the sandbox has been killed.
CREATE TABLE cloud_sandboxes (
    -- No reference: see above.
    session_id   uuid PRIMARY KEY,
    -- What the sandbox is asked for with, so that asking again makes no second one.
    creation_key uuid NOT NULL,
    -- Unknown until whoever asked for it has its answer.
    sandbox_id   text CHECK (octet_length(sandbox_id) BETWEEN 1 AND 200),
    -- When somebody last was about to ask for it, or to use it.
    used_at      timestamptz NOT NULL DEFAULT now(),
    -- When it is to be killed.
    due_at       timestamptz NOT NULL
);
CREATE INDEX cloud_sandboxes_by_due ON cloud_sandboxes (due_at);

-- Whoever deletes a session, its sandbox is due.
CREATE FUNCTION abandon_cloud_sandbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE cloud_sandboxes SET due_at = now() WHERE session_id = OLD.id;
    RETURN OLD;
END $$;
CREATE TRIGGER sessions_abandon_cloud_sandbox AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION abandon_cloud_sandbox();
