-- A question can be asked again, and a message written anew: what followed then leaves the
-- conversation, and stays for the record.
ALTER TABLE messages
    -- The turn that took its place, and when. No foreign key: a turn goes only with its session.
    ADD COLUMN superseded_by uuid,
    ADD COLUMN superseded_at timestamptz,
    -- What the client's user interface calls a user's message; absent if it did not say.
    ADD COLUMN ui_id text CHECK (octet_length(ui_id) BETWEEN 1 AND 255),
    ADD CONSTRAINT messages_are_superseded_by_a_turn CHECK ((superseded_by IS NULL) = (superseded_at IS NULL));
CREATE INDEX messages_in_conversation ON messages (session_id, sequence DESC) WHERE superseded_at IS NULL;
CREATE INDEX messages_by_ui_id ON messages (session_id, ui_id) WHERE ui_id IS NOT NULL;

ALTER TABLE turns
    -- On a turn that was in flight then: what it still writes is superseded, too.
    ADD COLUMN superseded_by uuid,
    -- The earlier turn whose question this one answers again. Its message is not its own to delete.
    ADD COLUMN regenerates uuid;

-- A trigger, so that it also holds for a worker of the version before, which runs on during a deploy.
CREATE FUNCTION supersede_what_a_superseded_turn_writes() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN
        SELECT t.superseded_by, now() INTO NEW.superseded_by, NEW.superseded_at
        FROM turns t WHERE t.id = NEW.turn_id AND t.superseded_by IS NOT NULL;
        RETURN NEW;
    END $$;
CREATE TRIGGER messages_of_superseded_turns_are_superseded BEFORE INSERT ON messages
    FOR EACH ROW WHEN (NEW.step IS NOT NULL) EXECUTE FUNCTION supersede_what_a_superseded_turn_writes();

-- What every API process of a deployment must know and nobody else: made by whoever needs it first.
CREATE TABLE deployment_secrets (
    name       text PRIMARY KEY,
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
